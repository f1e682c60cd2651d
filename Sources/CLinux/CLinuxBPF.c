#define _GNU_SOURCE
#include "CLinuxBPF.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct sluice_bpf_instruction) == sizeof(struct bpf_insn), "bpf_insn");

static long bpf(int command, union bpf_attr *attributes) {
    long result = syscall(SYS_bpf, command, attributes, sizeof *attributes);
    return result < 0 ? -errno : result;
}

int sluice_bpf_create_array(const char *name, uint32_t value_size, uint32_t entries) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_type = BPF_MAP_TYPE_ARRAY;
    attributes.key_size = sizeof(uint32_t);
    attributes.value_size = value_size;
    attributes.max_entries = entries;
    snprintf(attributes.map_name, sizeof attributes.map_name, "%s", name);
    return (int)bpf(BPF_MAP_CREATE, &attributes);
}

int sluice_bpf_load_classifier(
    const char *name, const struct sluice_bpf_instruction *instructions, size_t count, char *log,
    size_t log_size) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_SCHED_CLS;
    attributes.insns = (uint64_t)(uintptr_t)instructions;
    attributes.insn_cnt = (uint32_t)count;
    attributes.license = (uint64_t)(uintptr_t) "GPL";
    snprintf(attributes.prog_name, sizeof attributes.prog_name, "%s", name);
    long result = bpf(BPF_PROG_LOAD, &attributes);
    if (result < 0 && log_size > 0) {
        // Once more for the verifier's words; they are long, so only when asked.
        attributes.log_level = 1;
        attributes.log_buf = (uint64_t)(uintptr_t)log;
        attributes.log_size = (uint32_t)log_size;
        log[0] = '\0';
        long again = bpf(BPF_PROG_LOAD, &attributes);
        if (again >= 0) return (int)again;
        log[log_size - 1] = '\0';
    }
    return (int)result;
}

int sluice_bpf_read(int map, uint32_t key, void *value) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = (uint32_t)map;
    attributes.key = (uint64_t)(uintptr_t)&key;
    attributes.value = (uint64_t)(uintptr_t)value;
    return (int)bpf(BPF_MAP_LOOKUP_ELEM, &attributes);
}

int sluice_bpf_write(int map, uint32_t key, const void *value) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = (uint32_t)map;
    attributes.key = (uint64_t)(uintptr_t)&key;
    attributes.value = (uint64_t)(uintptr_t)value;
    attributes.flags = BPF_ANY;
    return (int)bpf(BPF_MAP_UPDATE_ELEM, &attributes);
}

static int descriptor_by_id(int command, uint32_t id) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_id = id;  // in one union with map_id
    return (int)bpf(command, &attributes);
}

int sluice_bpf_program_by_id(uint32_t id) { return descriptor_by_id(BPF_PROG_GET_FD_BY_ID, id); }
int sluice_bpf_map_by_id(uint32_t id) { return descriptor_by_id(BPF_MAP_GET_FD_BY_ID, id); }

int sluice_bpf_program_maps(int program, uint32_t *ids, uint32_t capacity) {
    struct bpf_prog_info info;
    memset(&info, 0, sizeof info);
    info.nr_map_ids = capacity;
    info.map_ids = (uint64_t)(uintptr_t)ids;
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.info.bpf_fd = (uint32_t)program;
    attributes.info.info_len = sizeof info;
    attributes.info.info = (uint64_t)(uintptr_t)&info;
    long result = bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes);
    if (result < 0) return (int)result;
    return (int)(info.nr_map_ids < capacity ? info.nr_map_ids : capacity);
}

int sluice_bpf_map_name(int map, char *name, uint32_t *value_size) {
    struct bpf_map_info info;
    memset(&info, 0, sizeof info);
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.info.bpf_fd = (uint32_t)map;
    attributes.info.info_len = sizeof info;
    attributes.info.info = (uint64_t)(uintptr_t)&info;
    long result = bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes);
    if (result < 0) return (int)result;
    memcpy(name, info.name, BPF_OBJ_NAME_LEN);
    name[BPF_OBJ_NAME_LEN - 1] = '\0';
    *value_size = info.value_size;
    return 0;
}

int sluice_skb_offset_length(void) { return offsetof(struct __sk_buff, len); }
int sluice_skb_offset_data(void) { return offsetof(struct __sk_buff, data); }
int sluice_skb_offset_data_end(void) { return offsetof(struct __sk_buff, data_end); }
int sluice_skb_offset_gso_size(void) { return offsetof(struct __sk_buff, gso_size); }
