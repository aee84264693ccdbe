// SPDX-License-Identifier: GPL-2.0-only
/*
 * A TCG plugin for QEMU 7.2 (plugin ABI 1): how often each block of code runs.
 *
 *   -plugin count.so,dir=FOLDER     with -icount, that is one thread
 *
 * A program in the machine says when: the instruction MARK with START sets all to 0,
 * else it writes FOLDER/0, then FOLDER/1, ...: struct header, struct block of those that
 * ran. Counting costs the machine nothing, none of its instructions and no time.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Debian has no header of these. */
struct qemu_plugin_tb;
struct qemu_plugin_insn;
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
					   void (*cb)(uint64_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *to,
					      uint64_t value);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int vcpu, void *data), int flags,
					    void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
void *qemu_plugin_insn_haddr(const struct qemu_plugin_insn *insn);

#define ADD 0	       /* enum qemu_plugin_op */
#define NO_REGISTERS 0 /* enum qemu_plugin_cb_flags */

#define EXPORT __attribute__((visibility("default")))
#define MARK "\x0f\x1f\x80xpv" /* nopl disp32(%rax), disp32 is "xpv" and a digit */
#define MARK_SIZE 7
#define START '1'
#define BLOCKS_SHIFT 23 /* a boot and ten cases of one stack fill 1.5 million */
#define BLOCKS (1u << BLOCKS_SHIFT)

/* account.py reads both. */
struct header {
	uint64_t ram, ram_end;	     /* the machine's memory in this process */
	uint64_t instructions, runs; /* of blocks that found no place */
};

struct block {
	uint64_t virtual, host; /* addresses of its first instruction */
	uint64_t instructions, runs;
};

static struct block *blocks;
static struct block surplus;
static unsigned int used;
static const char *folder;

EXPORT int qemu_plugin_version = 1;

static void find_ram(uintptr_t inside, struct header *header)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	uintptr_t from, to;

	while (maps && fscanf(maps, "%" SCNxPTR "-%" SCNxPTR "%*[^\n]", &from, &to) == 2) {
		if (from <= inside && inside < to) {
			header->ram = from;
			header->ram_end = to;
		}
	}
	if (maps)
		fclose(maps);
}

static struct block *block_of(uint64_t virtual, uint64_t host)
{
	uint64_t hash = virtual * 0x9e3779b97f4a7c15 ^ host * 0xc2b2ae3d27d4eb4f;
	unsigned int at;

	for (at = hash >> (64 - BLOCKS_SHIFT); blocks[at].virtual; at = (at + 1) % BLOCKS)
		if (blocks[at].virtual == virtual && blocks[at].host == host)
			return &blocks[at];
	if (used == BLOCKS / 4 * 3)
		return &surplus;
	++used;
	blocks[at].virtual = virtual;
	blocks[at].host = host;
	return &blocks[at];
}

static void write_blocks(const void *mark)
{
	struct header header = { 0, 0, surplus.instructions, surplus.runs };
	static unsigned int number;
	char path[4096];
	FILE *out;
	bool ok;

	snprintf(path, sizeof(path), "%s/%u", folder, number++);
	find_ram((uintptr_t)mark, &header);
	out = fopen(path, "wb");
	ok = out && fwrite(&header, sizeof(header), 1, out) == 1;
	for (unsigned int i = 0; ok && i < BLOCKS; ++i)
		if (blocks[i].runs)
			ok = fwrite(&blocks[i], sizeof(blocks[i]), 1, out) == 1;
	if (!out || fclose(out) || !ok) {
		fprintf(stderr, "count.so: cannot write %s\n", path);
		exit(1);
	}
}

static void on_mark(unsigned int vcpu, void *mark)
{
	(void)vcpu;
	if (((const char *)mark)[MARK_SIZE - 1] != START) {
		write_blocks(mark);
		return;
	}
	surplus.instructions = surplus.runs = 0;
	for (unsigned int i = 0; i < BLOCKS; ++i)
		blocks[i].instructions = blocks[i].runs = 0;
}

static void on_translation(uint64_t id, struct qemu_plugin_tb *tb)
{
	size_t count = qemu_plugin_tb_n_insns(tb);
	void *host = qemu_plugin_insn_haddr(qemu_plugin_tb_get_insn(tb, 0));
	struct block *block = block_of(qemu_plugin_tb_vaddr(tb), (uintptr_t)host);

	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &block->instructions, count);
	qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &block->runs, 1);
	for (size_t i = 0; i < count; ++i) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (qemu_plugin_insn_size(insn) == MARK_SIZE &&
		    !memcmp(qemu_plugin_insn_data(insn), MARK, MARK_SIZE - 1))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, NO_REGISTERS,
							       qemu_plugin_insn_haddr(insn));
	}
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	(void)info;
	if (argc == 1 && !strncmp(argv[0], "dir=", 4))
		folder = argv[0] + 4;
	blocks = calloc(BLOCKS, sizeof(*blocks));
	if (!blocks || !folder) {
		fputs("count.so: dir=FOLDER is needed, and 256 MB of memory\n", stderr);
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
