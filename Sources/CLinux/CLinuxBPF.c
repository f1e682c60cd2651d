#define _GNU_SOURCE
#include "CLinuxBPF.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct sluice_bpf_instruction) == sizeof(struct bpf_insn), "bpf_insn");

static long bpf(int command, union bpf_attr *attributes) {
    long result = syscall(SYS_bpf, command, attributes, sizeof *attributes);
    return result < 0 ? -errno : result;
}

static int create_map(
    enum bpf_map_type type, uint32_t flags, const char *name, uint32_t value_size,
    uint32_t entries) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_type = type;
    attributes.map_flags = flags;
    attributes.key_size = sizeof(uint32_t);
    attributes.value_size = value_size;
    attributes.max_entries = entries;
    snprintf(attributes.map_name, sizeof attributes.map_name, "%s", name);
    return (int)bpf(BPF_MAP_CREATE, &attributes);
}

int sluice_bpf_create_array(const char *name, uint32_t value_size, uint32_t entries) {
    return create_map(BPF_MAP_TYPE_ARRAY, 0, name, value_size, entries);
}

int sluice_bpf_create_hash(const char *name, uint32_t value_size, uint32_t entries) {
    return create_map(BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, name, value_size, entries);
}

int sluice_bpf_create_shared_array(const char *name, uint32_t value_size) {
    return create_map(BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, name, value_size, 1);
}

int sluice_bpf_create_per_cpu_array(const char *name, uint32_t value_size) {
    return create_map(BPF_MAP_TYPE_PERCPU_ARRAY, 0, name, value_size, 1);
}

static int load_program(union bpf_attr *attributes, char *log, size_t log_size) {
    long result = bpf(BPF_PROG_LOAD, attributes);
    if (result < 0 && log_size > 0) {
        // Once more for the verifier's words; they are long, so only when asked.
        attributes->log_level = 1;
        attributes->log_buf = (uint64_t)(uintptr_t)log;
        attributes->log_size = (uint32_t)log_size;
        log[0] = '\0';
        long again = bpf(BPF_PROG_LOAD, attributes);
        if (again >= 0) return (int)again;
        log[log_size - 1] = '\0';
    }
    return (int)result;
}

static union bpf_attr program(
    enum bpf_prog_type type, const char *name, const struct sluice_bpf_instruction *instructions,
    size_t count) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = type;
    attributes.insns = (uint64_t)(uintptr_t)instructions;
    attributes.insn_cnt = (uint32_t)count;
    attributes.license = (uint64_t)(uintptr_t) "GPL";
    snprintf(attributes.prog_name, sizeof attributes.prog_name, "%s", name);
    return attributes;
}

int sluice_bpf_load_classifier(
    const char *name, const struct sluice_bpf_instruction *instructions, size_t count, char *log,
    size_t log_size) {
    union bpf_attr attributes = program(BPF_PROG_TYPE_SCHED_CLS, name, instructions, count);
    return load_program(&attributes, log, log_size);
}

// The types of a program with one static function: the kernel wants them of a callback
// (check_ld_imm of kernel/bpf/verifier.c), their names and arguments mean nothing.
static int load_types(void) {
    enum { integer = 1, prototype, entry, callback };
#define TYPE_NAMES "\0int\0entry\0callback"
    static const struct {
        struct btf_header header;
        struct btf_type integer;
        uint32_t encoding;
        struct btf_type prototype, entry, callback;
        char strings[sizeof TYPE_NAMES];
    } types = {
        .header = {
            .magic = BTF_MAGIC,
            .version = BTF_VERSION,
            .hdr_len = sizeof(struct btf_header),
            .type_len = 4 * sizeof(struct btf_type) + sizeof(uint32_t),
            .str_off = 4 * sizeof(struct btf_type) + sizeof(uint32_t),
            .str_len = sizeof TYPE_NAMES,
        },
        .integer = {.name_off = 1, .info = BTF_KIND_INT << 24, .size = sizeof(int)},
        .encoding = BTF_INT_SIGNED << 24 | 8 * sizeof(int),
        .prototype = {.info = BTF_KIND_FUNC_PROTO << 24, .type = integer},
        .entry = {.name_off = 5, .info = BTF_KIND_FUNC << 24 | BTF_FUNC_GLOBAL, .type = prototype},
        .callback =
            {.name_off = 11, .info = BTF_KIND_FUNC << 24 | BTF_FUNC_STATIC, .type = prototype},
        .strings = TYPE_NAMES,
    };
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.btf = (uint64_t)(uintptr_t)&types;
    attributes.btf_size = (uint32_t)(offsetof(__typeof__(types), strings) + sizeof TYPE_NAMES);
    return (int)bpf(BPF_BTF_LOAD, &attributes);
}

int sluice_bpf_load_runnable(
    const char *name, const struct sluice_bpf_instruction *instructions, size_t count,
    size_t callback, char *log, size_t log_size) {
    union bpf_attr attributes = program(BPF_PROG_TYPE_RAW_TRACEPOINT, name, instructions, count);
    if (callback == 0) return load_program(&attributes, log, log_size);
    int types = load_types();
    if (types < 0) return types;
    // Type ids as load_types numbers them.
    const struct bpf_func_info functions[] = {
        {.insn_off = 0, .type_id = 3},
        {.insn_off = (uint32_t)callback, .type_id = 4},
    };
    attributes.prog_btf_fd = (uint32_t)types;
    attributes.func_info = (uint64_t)(uintptr_t)functions;
    attributes.func_info_rec_size = sizeof functions[0];
    attributes.func_info_cnt = sizeof functions / sizeof functions[0];
    int result = load_program(&attributes, log, log_size);
    close(types);
    return result;
}

int sluice_bpf_run(int program, uint32_t *result) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.test.prog_fd = (uint32_t)program;
    int error = (int)bpf(BPF_PROG_TEST_RUN, &attributes);
    *result = attributes.test.retval;
    return error;
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

int sluice_bpf_remove(int map, uint32_t key) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = (uint32_t)map;
    attributes.key = (uint64_t)(uintptr_t)&key;
    return (int)bpf(BPF_MAP_DELETE_ELEM, &attributes);
}

static int descriptor_by_id(int command, uint32_t id) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_id = id;  // in one union with map_id
    return (int)bpf(command, &attributes);
}

int sluice_bpf_program_by_id(uint32_t id) { return descriptor_by_id(BPF_PROG_GET_FD_BY_ID, id); }
int sluice_bpf_map_by_id(uint32_t id) { return descriptor_by_id(BPF_MAP_GET_FD_BY_ID, id); }

static int information(int descriptor, void *info, size_t size) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.info.bpf_fd = (uint32_t)descriptor;
    attributes.info.info_len = (uint32_t)size;
    attributes.info.info = (uint64_t)(uintptr_t)info;
    return (int)bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes);
}

int sluice_bpf_program_id(int program, uint32_t *id) {
    struct bpf_prog_info info;
    memset(&info, 0, sizeof info);
    int result = information(program, &info, sizeof info);
    *id = info.id;
    return result;
}

int sluice_bpf_program_maps(int program, uint32_t *ids, uint32_t capacity) {
    struct bpf_prog_info info;
    memset(&info, 0, sizeof info);
    info.nr_map_ids = capacity;
    info.map_ids = (uint64_t)(uintptr_t)ids;
    int result = information(program, &info, sizeof info);
    if (result < 0) return result;
    return (int)(info.nr_map_ids < capacity ? info.nr_map_ids : capacity);
}

int sluice_bpf_map_name(int map, char *name, uint32_t *value_size) {
    struct bpf_map_info info;
    memset(&info, 0, sizeof info);
    int result = information(map, &info, sizeof info);
    if (result < 0) return result;
    memcpy(name, info.name, BPF_OBJ_NAME_LEN);
    name[BPF_OBJ_NAME_LEN - 1] = '\0';
    *value_size = info.value_size;
    return 0;
}

int sluice_skb_offset_length(void) { return offsetof(struct __sk_buff, len); }
int sluice_skb_offset_data(void) { return offsetof(struct __sk_buff, data); }
int sluice_skb_offset_data_end(void) { return offsetof(struct __sk_buff, data_end); }
int sluice_skb_offset_gso_size(void) { return offsetof(struct __sk_buff, gso_size); }
int sluice_skb_offset_ifindex(void) { return offsetof(struct __sk_buff, ifindex); }
