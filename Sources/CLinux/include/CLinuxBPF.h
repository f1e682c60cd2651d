// bpf(2): array maps, scheduler classifiers, and programs that run when told to. Every function returns 0 or a descriptor, or a
// negative errno. Structures and offsets come from <linux/bpf.h>, never typed again.
#pragma once
#include <stddef.h>
#include <stdint.h>

// struct bpf_insn with its two register fields in one byte (destination low, source high).
struct sluice_bpf_instruction {
    uint8_t code;
    uint8_t registers;
    int16_t offset;
    int32_t immediate;
};

int sluice_bpf_create_array(const char *name, uint32_t value_size, uint32_t entries);
// Values by a 32-bit key, each made when it is written (BPF_F_NO_PREALLOC).
int sluice_bpf_create_hash(const char *name, uint32_t value_size, uint32_t entries);
// One value that user space maps into its memory (BPF_F_MMAPABLE, 5.5 on).
int sluice_bpf_create_shared_array(const char *name, uint32_t value_size);
// One value for each processor.
int sluice_bpf_create_per_cpu_array(const char *name, uint32_t value_size);
// Loads a BPF_PROG_TYPE_SCHED_CLS program. Where the verifier refuses, its words are in `log`.
int sluice_bpf_load_classifier(
    const char *name, const struct sluice_bpf_instruction *instructions, size_t count, char *log,
    size_t log_size);
// Loads a BPF_PROG_TYPE_RAW_TRACEPOINT program that is attached to none. `callback`: the instruction at
// which its callback begins; 0: it has none.
int sluice_bpf_load_runnable(
    const char *name, const struct sluice_bpf_instruction *instructions, size_t count,
    size_t callback, char *log, size_t log_size);
// Runs it once, here and now (BPF_PROG_TEST_RUN, under rcu_read_lock, 5.10 on); gives what it returned.
int sluice_bpf_run(int program, uint32_t *result);
int sluice_bpf_read(int map, uint32_t key, void *value);
int sluice_bpf_write(int map, uint32_t key, const void *value);
int sluice_bpf_remove(int map, uint32_t key);
// A descriptor of a loaded program, and of the maps it uses (up to `capacity` ids; gives their number).
int sluice_bpf_program_by_id(uint32_t id);
int sluice_bpf_program_id(int program, uint32_t *id);
int sluice_bpf_program_maps(int program, uint32_t *ids, uint32_t capacity);
int sluice_bpf_map_by_id(uint32_t id);
// A map's name, at most 16 bytes with its NUL, and the bytes of one value.
int sluice_bpf_map_name(int map, char *name, uint32_t *value_size);

// Offsets in struct __sk_buff.
int sluice_skb_offset_length(void);
int sluice_skb_offset_data(void);
int sluice_skb_offset_data_end(void);
int sluice_skb_offset_gso_size(void);
int sluice_skb_offset_ifindex(void);
