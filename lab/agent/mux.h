/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lab's command channel: many calls over one byte stream.
 *
 *   guest (client, dom0) --unix socket-- guestd (dom0) --vchan-- agent (guest)
 *
 * Both hops carry frames: a header and its payload, in host byte order. Each call
 * has three streams (0 stdin, 1 stdout, 2 stderr); a sender may have WINDOW bytes
 * of a stream under way, which an ACK gives back when the receiver has passed them
 * on. So a reader that stops stops its own stream only, and no buffer here can
 * grow past the windows.
 */
#ifndef LAB_MUX_H
#define LAB_MUX_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libxenvchan.h>

enum frame_type {
	F_RUN = 1, /* to the guest: words ending in NUL; a client puts NAME and WAIT first */
	F_DATA,	   /* both ways: stream in `arg`; no payload means end of file */
	F_ACK,	   /* both ways: stream in `arg`, payload is a u32 count of bytes */
	F_SIGNAL,  /* to the guest: signal number in `arg`, for the call's process group */
	F_EXIT,	   /* from the guest: exit status in `arg` */
	F_FAIL,	   /* from guestd to a client: payload is the reason */
	F_PING,	   /* to the guest, and back as it came */
};

struct frame {
	uint32_t call;
	uint16_t type;
	uint16_t arg;
	uint32_t len;
};

#define WINDOW (64u << 10)
#define CHUNK (16u << 10)
#define FRAME_MAX (256u << 10)
#define RING_SIZE (64u << 10)
#define SOCKET "/run/lab/guestd"
#define NODE "data/lab" /* the vchan's node, below the guest's own xenstore path */

/* ---- a queue of bytes ---------------------------------------------------- */

struct buf {
	char *data;
	size_t off, len, cap;
};

static inline void die(const char *what)
{
	perror(what);
	exit(255);
}

/* Room for n more bytes, at the end. */
static inline char *buf_room(struct buf *b, size_t n)
{
	if (b->off && (!b->len || b->off + b->len + n > b->cap)) {
		memmove(b->data, b->data + b->off, b->len);
		b->off = 0;
	}
	if (b->off + b->len + n > b->cap) {
		b->cap = (b->off + b->len + n) * 2;
		b->data = realloc(b->data, b->cap);
		if (!b->data)
			die("out of memory");
	}
	return b->data + b->off + b->len;
}

static inline void buf_add(struct buf *b, const void *data, size_t n)
{
	memcpy(buf_room(b, n), data, n);
	b->len += n;
}

static inline void buf_drop(struct buf *b, size_t n)
{
	b->off += n;
	b->len -= n;
}

static inline void buf_free(struct buf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

/* What a descriptor has now. 1: still open, 0: end of file or error. */
static inline int buf_fill(struct buf *b, int fd)
{
	ssize_t n = read(fd, buf_room(b, CHUNK), CHUNK);

	if (n > 0)
		b->len += (size_t)n;
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* What a descriptor takes now; the count of bytes, or -1 when it takes no more ever. */
static inline ssize_t buf_flush(struct buf *b, int fd)
{
	size_t done = 0;

	while (b->len) {
		ssize_t n = write(fd, b->data + b->off, b->len);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? (ssize_t)done : -1;
		buf_drop(b, (size_t)n);
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* ---- frames -------------------------------------------------------------- */

static inline void put_frame(struct buf *b, uint32_t call, unsigned int type, unsigned int arg,
			     const void *payload, size_t len)
{
	struct frame f = { call, (uint16_t)type, (uint16_t)arg, (uint32_t)len };

	buf_add(b, &f, sizeof(f));
	if (len)
		buf_add(b, payload, len);
}

static inline void put_ack(struct buf *b, uint32_t call, unsigned int stream, size_t count)
{
	uint32_t n = (uint32_t)count;

	if (count)
		put_frame(b, call, F_ACK, stream, &n, sizeof(n));
}

/*
 * The next whole frame of a queue: 1 and the frame, 0 when there is none yet, -1
 * when the stream makes no sense. The payload stays valid until `drop_frame`.
 */
static inline int next_frame(struct buf *b, struct frame *f, char **payload)
{
	if (b->len < sizeof(*f))
		return 0;
	memcpy(f, b->data + b->off, sizeof(*f));
	if (f->len > FRAME_MAX)
		return -1;
	if (b->len < sizeof(*f) + f->len)
		return 0;
	*payload = b->data + b->off + sizeof(*f);
	return 1;
}

static inline void drop_frame(struct buf *b, const struct frame *f)
{
	buf_drop(b, sizeof(*f) + f->len);
}

static inline uint32_t ack_count(const struct frame *f, const char *payload)
{
	uint32_t n = 0;

	if (f->len == sizeof(n))
		memcpy(&n, payload, sizeof(n));
	return n;
}

/* Words that each end in NUL, as a NULL-ended array; NULL when there is none. */
static inline char **words_of(char *text, size_t len)
{
	char **words = calloc(len + 1, sizeof(*words));
	size_t n = 0;

	if (!words)
		die("out of memory");
	if (!len || text[len - 1]) {
		free(words);
		return NULL;
	}
	for (char *w = text; w < text + len; w += strlen(w) + 1)
		words[n++] = w;
	return words;
}

/* ---- a vchan as a pair of queues ------------------------------------------ */

struct vlink {
	struct libxenvchan *v;
	struct buf in, out;
};

/* Neither sleeps; both ask to be woken when there is more to do. -1: the other end is gone. */
static inline int vlink_flush(struct vlink *l)
{
	while (l->out.len) {
		int n = libxenvchan_write(l->v, l->out.data + l->out.off, l->out.len);

		if (n <= 0)
			return n;
		buf_drop(&l->out, (size_t)n);
	}
	return 0;
}

static inline int vlink_read(struct vlink *l)
{
	for (;;) {
		int n = libxenvchan_read(l->v, buf_room(&l->in, CHUNK), CHUNK);

		if (n < 0)
			return -1;
		if (!n)
			return libxenvchan_is_open(l->v) ? 0 : -1;
		l->in.len += (size_t)n;
	}
}

/* After a restore Linux's evtchn driver hits a BUG when a port of before is closed:
 * a vchan that was moved is left behind, open. */
static inline void vlink_close(struct vlink *l, int moved)
{
	if (!moved)
		libxenvchan_close(l->v);
	l->v = NULL;
	buf_free(&l->in);
	buf_free(&l->out);
}

#endif
