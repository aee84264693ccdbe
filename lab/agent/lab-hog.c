// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab-hog MB RATE SECONDS
 *
 * Takes MB of memory, RATE MB per second, holds them for so long and looks whether each
 * page still says what was written into it. Says how long it took to get them. Exit status
 * 3: a page has changed; killed by the kernel: there was no memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MB (1ul << 20)
#define PAGE 4096ul

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	unsigned long size, rate, seconds, at;
	double begin = now();
	char *memory;

	if (argc != 4) {
		fprintf(stderr, "usage: lab-hog MB RATE SECONDS\n");
		return 2;
	}
	size = strtoul(argv[1], NULL, 10) * MB;
	rate = strtoul(argv[2], NULL, 10);
	seconds = strtoul(argv[3], NULL, 10);
	if (!size || !rate) {
		fprintf(stderr, "lab-hog: %s MB at %s MB/s: both must be 1 or more\n", argv[1], argv[2]);
		return 2;
	}
	/* With a reserve the kernel would refuse what there may be when it is touched. */
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		perror("lab-hog: mmap");
		return 1;
	}
	for (at = 0; at < size; at += PAGE) {
		*(unsigned long *)(memory + at) = at ^ 0x5a5a;
		if (at % MB == 0 && (double)at / MB / rate > now() - begin)
			usleep(1000000 / rate);
	}
	printf("%lu MB after %.1f s\n", size / MB, now() - begin);
	fflush(stdout);
	sleep(seconds);
	for (at = 0; at < size; at += PAGE)
		if (*(unsigned long *)(memory + at) != (at ^ 0x5a5a)) {
			fprintf(stderr, "lab-hog: the page at %lu has changed\n", at);
			return 3;
		}
	return 0;
}
