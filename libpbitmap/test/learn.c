// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Handles through the shared library: opened from a file, a descriptor and
 * memory, learning, forgetting, merging, written, exported and imported.
 */
#include <linux/pbitmap.h>

#include <pbitmap.h>

#include "test.h"

static char last_message[256];

static void keep_message(void *arg, enum pbitmap_level level,
			 const char *message)
{
	(void)arg;
	(void)level;
	snprintf(last_message, sizeof(last_message), "%s", message);
}

static const struct pbitmap_options options = {
	.sz = sizeof(options),
	.log = keep_message,
};

static struct pbitmap *open_f(void)
{
	struct pbitmap *pb;

	CHECK(!pbitmap_open("f", &options, &pb));
	return pb;
}

static struct pbitmap_info info_of(const struct pbitmap *pb)
{
	struct pbitmap_info info = { .sz = sizeof(info) };

	CHECK(!pbitmap_get_info(pb, &info));
	return info;
}

static struct pbitmap_segment_info segment_of(const struct pbitmap *pb,
					      unsigned int n)
{
	struct pbitmap_segment_info info = { .sz = sizeof(info) };

	CHECK(!pbitmap_get_segment(pb, n, &info));
	return info;
}

static const char *object_name(const struct pbitmap *pb, unsigned int n)
{
	struct pbitmap_object_info info = { .sz = sizeof(info) };

	return pbitmap_get_object(pb, n, &info) ? NULL : info.name;
}

static int object_counter(const struct pbitmap *pb, const char *name)
{
	struct pbitmap_object_info info = { .sz = sizeof(info) };
	unsigned int i;

	for (i = 0; !pbitmap_get_object(pb, i, &info); i++)
		if (!strcmp(info.name, name))
			return info.counter;
	return -1;
}

static bool same_learning(const struct pbitmap *a, const struct pbitmap *b)
{
	struct pbitmap_info x = info_of(a), y = info_of(b);
	unsigned int i;
	uint64_t page;

	if (x.launches != y.launches || x.updated != y.updated ||
	    x.nr_segments != y.nr_segments || x.nr_objects != y.nr_objects)
		return false;
	for (i = 0; i < x.nr_segments; i++)
		for (page = 0; page < segment_of(a, i).pages; page++)
			if (pbitmap_counter(a, i, page) !=
			    pbitmap_counter(b, i, page))
				return false;
	for (i = 0; i < x.nr_objects; i++)
		if (strcmp(object_name(a, i), object_name(b, i)) ||
		    object_counter(a, object_name(a, i)) !=
		    object_counter(b, object_name(a, i)))
			return false;
	return true;
}

/* A launch that touched the pages of @touched in each segment, 64 at most. */
static void launch(struct pbitmap *pb, uint64_t touched, uint64_t unknown,
		   const char *const *objects, size_t n)
{
	enum { BYTES = 65536 };
	unsigned char *t = calloc(1, BYTES), *u = calloc(1, BYTES);
	const unsigned char *ts[PBITMAP_MAX_SEGMENTS];
	const unsigned char *us[PBITMAP_MAX_SEGMENTS];
	struct pbitmap_launch l = {
		.sz = sizeof(l), .touched = ts, .unknown = us,
		.objects = objects, .nr_objects = n, .time = 1000,
	};
	int i;

	CHECK(t && u);
	memcpy(t, &touched, 8);
	memcpy(u, &unknown, 8);
	for (i = 0; i < PBITMAP_MAX_SEGMENTS; i++) {
		ts[i] = t;
		us[i] = u;
	}
	CHECK(!pbitmap_update(pb, &l));
	free(t);
	free(u);
}

/* Makes the third segment, with constants, large enough. */
static const char constants[16 * 4096] __attribute__((used)) = "constants";

/* Every counter and every kind of vote. */
static void test_predictor(void)
{
	static const int up[] = { 2, 3, 3, 3 }, down[] = { 0, 0, 1, 2 };
	struct pbitmap *pb = open_f();
	int page;

	launch(pb, 0x5, 0, NULL, 0);
	CHECK(info_of(pb).launches == 1 && info_of(pb).updated == 1000);
	for (page = 0; page < 4; page++)
		CHECK(pbitmap_counter(pb, 2, page) == (page % 2 ? 0 : 3));
	for (page = 0; page < 12; page++)
		CHECK(!pbitmap_set_counter(pb, 2, page, page % 4));
	launch(pb, 0x0f0, 0xf00, NULL, 0);
	for (page = 0; page < 4; page++) {
		CHECK(pbitmap_counter(pb, 2, page) == down[page]);
		CHECK(pbitmap_counter(pb, 2, page + 4) == up[page]);
		CHECK(pbitmap_counter(pb, 2, page + 8) == page);
	}
	CHECK(info_of(pb).launches == 2);
	CHECK(pbitmap_set_counter(pb, 2, 0, 4) == -EINVAL);
	CHECK(pbitmap_set_counter(pb, 99, 0, 0) == -EINVAL);
	CHECK(pbitmap_set_counter(pb, 2, segment_of(pb, 2).pages, 0) ==
	      -EINVAL);

	/* Bits of pages that there are not stay clear. */
	CHECK(!pbitmap_reset(pb));
	launch(pb, -1ULL, 0, NULL, 0);
	CHECK(pbitmap_write(pb, "f", &options) == PBITMAP_WRITTEN);
	pbitmap_close(pb);
	pb = open_f();
	CHECK(pbitmap_verify(pb) == 0);
	pbitmap_close(pb);
}

static void test_aging(void)
{
	const char *const ab[] = { "/a", "/b" }, *const cb[] = { "/c", "/b" };
	const char *const bad[] = { "/a/../b" };
	struct pbitmap_launch wrong = {
		.sz = sizeof(wrong), .objects = bad, .nr_objects = 1,
		.touched = (const unsigned char *const *)&wrong,
	};
	struct pbitmap *pb = open_f();

	CHECK(!pbitmap_reset(pb));
	launch(pb, 0, 0, ab, 2);
	CHECK(object_counter(pb, "/a") == 3 && object_counter(pb, "/b") == 3);
	launch(pb, 0, 0, cb, 2);
	CHECK(object_counter(pb, "/a") == 2 && object_counter(pb, "/b") == 3);
	CHECK(!strcmp(object_name(pb, 2), "/c"));
	launch(pb, 0, 0, NULL, 0);
	CHECK(object_counter(pb, "/a") == 2 && object_counter(pb, "/c") == 2);
	launch(pb, 0, 0, cb, 2);
	CHECK(object_counter(pb, "/a") == 1 && object_counter(pb, "/c") == 3);
	launch(pb, 0, 0, ab, 2);
	CHECK(object_counter(pb, "/a") == 3 && object_counter(pb, "/c") == 2);
	launch(pb, 0, 0, ab, 2);
	launch(pb, 0, 0, ab, 2);
	CHECK(object_counter(pb, "/c") == 0);
	launch(pb, 0, 0, ab, 2);
	CHECK(object_counter(pb, "/c") == -1 && info_of(pb).nr_objects == 2);
	CHECK(pbitmap_update(pb, &wrong) == -EINVAL);
	CHECK(pbitmap_add_objects(pb, bad, 1) == -EINVAL);
	pbitmap_close(pb);
}

/* Long names, much in common, and more than there is room for. */
static void test_names(void)
{
	static char names[2000][600];
	static const char *list[2000];
	struct pbitmap *pb = open_f();
	int kept, i;

	CHECK(!pbitmap_reset(pb));
	for (i = 0; i < 2000; i++) {
		sprintf(names[i], "/%d/%0*d", i, i < 4 ? 248 + 2 * i : 90, i);
		list[i] = names[i];
	}
	strcpy(names[1], names[0]);	/* 251 in common, 255 more at most */
	memset(names[1] + 251, 'x', 255);
	strcpy(names[3], names[2]);	/* all but the end in common */
	names[3][strlen(names[3]) - 1] = '\0';
	kept = pbitmap_add_objects(pb, list, 2000);
	CHECK(kept > 100 && kept < 500);
	CHECK(info_of(pb).nr_objects == kept);
	CHECK(pbitmap_write(pb, "f", &options) == PBITMAP_WRITTEN);
	pbitmap_close(pb);
	pb = open_f();
	CHECK(info_of(pb).nr_objects == kept);
	for (i = 0; i < kept; i++)
		CHECK(object_counter(pb, object_name(pb, i)) == 2);
	for (i = 0; i < 4; i++)
		CHECK(object_counter(pb, names[i]) == 2);
	memset(names[1], 'y', 511);
	names[1][0] = '/';
	names[1][511] = '\0';
	CHECK(pbitmap_add_objects(pb, list + 1, 1) == -EINVAL);
	CHECK(!pbitmap_reset(pb));
	CHECK(pbitmap_write(pb, "f", &options) == PBITMAP_WRITTEN);
	pbitmap_close(pb);
}

/* The same from a path, a descriptor and memory. */
static void test_sources(void)
{
	struct pbitmap *path = open_f(), *fd, *memory;
	struct bytes file = slurp("f");
	int n = open("f", O_RDONLY);

	CHECK(n >= 0 && !pbitmap_open_fd(n, &options, &fd));
	CHECK(!close(n));
	CHECK(!pbitmap_open_memory(file.data, file.size, &options, &memory));
	memset(file.data, 0, file.size);
	CHECK(same_learning(path, fd) && same_learning(path, memory));
	launch(memory, 6, 0, NULL, 0);
	CHECK(pbitmap_write(memory, "f", &options) == PBITMAP_WRITTEN);
	pbitmap_close(path);
	path = open_f();
	CHECK(same_learning(path, memory));
	pbitmap_close(memory);
	CHECK(pbitmap_open_memory(file.data, file.size, &options, &memory) ==
	      -PBITMAP_ERR_NOT_ELF);
	CHECK(pbitmap_open_memory(file.data, 0, &options, &memory) ==
	      -PBITMAP_ERR_NOT_ELF);
	pbitmap_close(path);
	pbitmap_close(fd);
	free(file.data);
}

/* What is written is what the handle says, and only if that is new. */
static void test_write(void)
{
	struct pbitmap *pb = open_f(), *old = open_f();
	struct stat before, after;

	CHECK(!stat("f", &before));
	CHECK(pbitmap_write(pb, "f", &options) == PBITMAP_UNCHANGED);
	CHECK(!stat("f", &after) && before.st_ino == after.st_ino);
	launch(pb, 0xff, 0, NULL, 0);
	launch(old, 0xf0f, 0, NULL, 0);
	CHECK(pbitmap_write(pb, "f", &options) == PBITMAP_WRITTEN);
	CHECK(!stat("f", &after) && before.st_ino != after.st_ino);
	/* Somebody else has written since it was opened. */
	CHECK(pbitmap_write(old, "f", &options) == -PBITMAP_ERR_CHANGED);
	CHECK(pbitmap_write(pb, "none", &options) == -ENOENT);
	pbitmap_close(old);
	old = open_f();
	CHECK(same_learning(pb, old));
	pbitmap_close(pb);
	pbitmap_close(old);
}

static void set_all(struct pbitmap *pb, int a, int b, int c)
{
	CHECK(!pbitmap_set_counter(pb, 2, 0, a));
	CHECK(!pbitmap_set_counter(pb, 2, 1, b));
	CHECK(!pbitmap_set_counter(pb, 2, 2, c));
}

/* The mean of those that have learned anything. */
static void test_merge(void)
{
	const char *const x[] = { "/x", "/y" }, *const y[] = { "/y", "/z" };
	struct pbitmap *a = open_f(), *b = open_f(), *c = open_f();
	const struct pbitmap *others[] = { b, c };

	CHECK(!pbitmap_reset(a) && !pbitmap_reset(b) && !pbitmap_reset(c));
	CHECK(!pbitmap_merge(a, others, 2) && !info_of(a).launches);
	launch(a, 0, 0, NULL, 0);
	launch(a, 0, 0, x, 2);
	set_all(a, 3, 3, 0);
	launch(b, 0, 0, y, 2);
	launch(b, 0, 0, y, 2);
	set_all(b, 3, 0, 1);
	CHECK(!pbitmap_merge(a, others, 2));
	CHECK(info_of(a).launches == 4);
	CHECK(pbitmap_counter(a, 2, 0) == 3);
	CHECK(pbitmap_counter(a, 2, 1) == 2);
	CHECK(pbitmap_counter(a, 2, 2) == 1);
	CHECK(object_counter(a, "/x") == 1);	/* 2 and not known */
	CHECK(object_counter(a, "/y") == 3);	/* 2 and 3 */
	CHECK(object_counter(a, "/z") == 2);	/* not known and 3 */
	launch(c, 0, 0, NULL, 0);
	set_all(a, 1, 0, 3);
	set_all(b, 0, 0, 3);
	set_all(c, 0, 1, 1);
	CHECK(!pbitmap_merge(a, others, 2));
	CHECK(pbitmap_counter(a, 2, 0) == 0);
	CHECK(pbitmap_counter(a, 2, 1) == 0);
	CHECK(pbitmap_counter(a, 2, 2) == 2);
	CHECK(!pbitmap_copy(c, a) && same_learning(c, a));
	/* One that has learned nothing does not count. */
	others[0] = a;
	CHECK(!pbitmap_reset(b) && !pbitmap_merge(b, others, 1));
	CHECK(same_learning(b, a));
	pbitmap_close(a);
	pbitmap_close(b);
	pbitmap_close(c);
}

/* Opens the one record of an archive. */
static struct pbitmap *import(const void *record, size_t size)
{
	struct pbitmap *pb;
	size_t at = 0;

	CHECK(pbitmap_import(record, size, &at, &options, &pb) == 1);
	CHECK(at == size);
	CHECK(pbitmap_import(record, size, &at, &options, &pb) == 0);
	return pb;
}

static void test_archive(void)
{
	struct pbitmap *pb = open_f(), *other, *empty = open_f();
	const char *const x[] = { "/x", "/y" };
	const unsigned char *id, *id2;
	unsigned char *record;
	size_t size, i, at;

	launch(pb, 0x1234, 0, x, 2);
	CHECK(!pbitmap_export(pb, "/bin/f", (void **)&record, &size));
	other = import(record, size);
	CHECK(same_learning(pb, other));
	CHECK(!strcmp(pbitmap_name(other), "/bin/f") && !pbitmap_name(pb));
	CHECK(pbitmap_build_id(other, &id) == pbitmap_build_id(pb, &id2));
	CHECK(!memcmp(id, id2, pbitmap_build_id(pb, &id)));
	CHECK(pbitmap_write(other, "f", &options) == -EINVAL);
	CHECK(pbitmap_prepare(other) == -EINVAL);
	CHECK(!pbitmap_reset(empty) && !pbitmap_copy(empty, other));
	CHECK(same_learning(pb, empty));
	CHECK(pbitmap_verify(other) == 0);
	pbitmap_close(other);

	/* Cut off anywhere, and any bit changed. */
	for (i = 1; i < size; i += i < 300 ? 1 : 97) {
		at = 0;
		CHECK(pbitmap_import(record, i, &at, &options, &other) ==
		      -PBITMAP_ERR_FORMAT && !at);
	}
	for (i = 0; i < size; i += i < 300 ? 1 : 97) {
		record[i] ^= 1 << i % 8;
		at = 0;
		CHECK(pbitmap_import(record, size, &at, &options, &other) ==
		      -PBITMAP_ERR_FORMAT);
		record[i] ^= 1 << i % 8;
	}
	pbitmap_close(import(record, size));
	free(record);
	pbitmap_close(pb);
	pbitmap_close(empty);
}

/* Bitmaps of other files have no say. */
static void test_others(struct bytes file)
{
	struct pbitmap *pb = open_f(), *other;
	const struct pbitmap *others[1];
	const unsigned char *id;
	unsigned char *at;
	int n = pbitmap_build_id(pb, &id);

	CHECK(n == 20);
	at = memmem(file.data, file.size, id, n);
	CHECK(at);
	*at ^= 1;
	CHECK(!pbitmap_open_memory(file.data, file.size, &options, &other));
	CHECK(pbitmap_prepare(other) == PBITMAP_WRITTEN);
	launch(other, 1, 0, NULL, 0);
	others[0] = other;
	CHECK(pbitmap_merge(pb, others, 1) == -PBITMAP_ERR_STALE);
	CHECK(pbitmap_copy(pb, other) == -PBITMAP_ERR_STALE);
	CHECK(!strcmp(last_message, "another build-id"));
	pbitmap_close(other);
	pbitmap_close(pb);
	*at ^= 1;
}

/* Who has no valid bitmap is told so. */
static void test_invalid(struct bytes original)
{
	struct pbitmap_launch l = { .sz = sizeof(l) };
	struct pbitmap *pb, *good = open_f();
	void *record;
	size_t size;

	CHECK(!pbitmap_open_memory(original.data, original.size, &options,
				   &pb));
	CHECK(pbitmap_reset(pb) == -PBITMAP_ERR_NO_BITMAP);
	CHECK(pbitmap_update(pb, &l) == -PBITMAP_ERR_NO_BITMAP);
	CHECK(pbitmap_merge(pb, NULL, 0) == -PBITMAP_ERR_NO_BITMAP);
	CHECK(pbitmap_copy(pb, good) == -PBITMAP_ERR_NO_BITMAP);
	CHECK(pbitmap_copy(good, pb) == -PBITMAP_ERR_NO_BITMAP);
	CHECK(pbitmap_write(pb, "f", &options) == -PBITMAP_ERR_NO_BITMAP);
	CHECK(pbitmap_add_objects(pb, NULL, 0) == -PBITMAP_ERR_NO_BITMAP);
	CHECK(pbitmap_set_counter(pb, 0, 0, 0) == -PBITMAP_ERR_NO_BITMAP);
	CHECK(pbitmap_export(pb, "", &record, &size) ==
	      -PBITMAP_ERR_NO_BITMAP);
	CHECK(pbitmap_verify(pb) > 0);
	CHECK(!strcmp(pbitmap_strerror(PBITMAP_ERR_NO_BITMAP), "no bitmap"));
	pbitmap_close(pb);
	pbitmap_close(good);
}

int main(void)
{
	struct bytes original = set_up();

	CHECK(pbitmap_add("f", &options) == PBITMAP_WRITTEN);
	test_predictor();
	test_aging();
	test_names();
	test_sources();
	test_write();
	test_merge();
	test_archive();
	test_others(original);
	test_invalid(original);
	CHECK(pbitmap_remove("f", &options) == PBITMAP_WRITTEN);
	CHECK(holds("f", original));
	free(original.data);
	tear_down();
	return 0;
}
