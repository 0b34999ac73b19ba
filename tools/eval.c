// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pbitmap eval: what predictors would have made of recorded launches.  A trace
 * is a sequence of documents as show --json prints them, each after one launch
 * of the first file in it on bitmaps that had learned nothing: then what is
 * predicted is what was touched.
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"
#include "util.h"

#define MAX_PAGES	(1U << 23)	/* of an object; bitmaps end before */

/*
 * Counters from 0 to 3 that predict a page from 2 on.  The first launch sets
 * them to 3 or 0, later ones count one down where a page was not touched, and
 * where it was, to what stands here: the kernel's, which counts two up; one
 * that counts one up, as in a branch predictor; and one that does not believe
 * a page sooner that was touched not long ago.
 */
enum { KERNEL, SLOW, QUICK, NR_COUNTERS };
static const uint8_t up[NR_COUNTERS][4] = {
	[KERNEL] = { 2, 3, 3, 3 },
	[SLOW]	 = { 1, 2, 3, 3 },
	[QUICK]	 = { 2, 2, 3, 3 },
};

/* What all predictors remember of a page. */
struct past {
	uint32_t recent;		/* bit n: touched n launches ago */
	uint8_t ever;
	uint8_t counter[NR_COUNTERS];
};

/* An object, or an object as one program uses it. */
struct learner {
	char *program;			/* NULL: for all */
	char *file;
	size_t pages;
	unsigned int taught;		/* how many times */
	struct past *past;
	struct learner *next;
};

struct sums {
	uint64_t predicted;
	uint64_t touched;
	uint64_t hits;			/* both */
};

static bool in_last(const struct past *past, unsigned int n)
{
	return past->recent & ((1U << n) - 1);
}

static bool in_any(const struct past *past, unsigned int n)
{
	(void)n;
	return past->ever;
}

static bool by_counter(const struct past *past, unsigned int n)
{
	return past->counter[n] >= 2;
}

enum { KERNEL_POLICY = 5 };		/* of policies[] */
static const struct policy {
	const char *name;
	bool (*predicts)(const struct past *past, unsigned int n);
	unsigned int n;
	bool per_program;
} policies[] = {
	{ "last", in_last, 1, false },
	{ "or", in_any, 0, false },
	{ "or-2", in_last, 2, false },
	{ "or-3", in_last, 3, false },
	{ "or-5", in_last, 5, false },
	[KERNEL_POLICY] = { "2-bit", by_counter, KERNEL, false },
	{ "2-bit-slow", by_counter, SLOW, false },
	{ "2-bit-quick", by_counter, QUICK, false },
	{ "last, per program", in_last, 1, true },
	{ "or-2, per program", in_last, 2, true },
	{ "2-bit, per program", by_counter, KERNEL, true },
};

#define NR_POLICIES	(sizeof(policies) / sizeof(*policies))

/* How the kernel's predictor learns: its sums by what an object has learned. */
static const struct stage {
	const char *name;
	unsigned int launches;		/* at least */
} stages[] = {
	{ "1 launch", 1 },
	{ "2 or 3", 2 },
	{ "4 to 7", 4 },
	{ "8 to 15", 8 },
	{ "16 and more", 16 },
};

#define NR_STAGES	(sizeof(stages) / sizeof(*stages))

static struct sums sums[NR_POLICIES];
static struct sums learned[NR_STAGES];
static struct sums from_others;		/* by launches of other programs only */
static struct learner *learners;
static uint64_t nr_launches, nr_objects;

static void teach(struct past *past, bool touched, bool first)
{
	uint8_t *counter = past->counter;
	unsigned int i;

	past->recent = past->recent << 1 | touched;
	past->ever |= touched;
	for (i = 0; i < NR_COUNTERS; i++) {
		if (first)
			counter[i] = touched ? 3 : 0;
		else if (touched)
			counter[i] = up[i][counter[i]];
		else
			counter[i] -= counter[i] > 0;
	}
}

static bool is_same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* The one for @file in @program, which starts afresh when the file changed. */
static struct learner *find_learner(const char *program, const char *file,
				    size_t pages)
{
	struct learner *l = learners;

	while (l && (!is_same(l->program, program) || !is_same(l->file, file)))
		l = l->next;
	if (!l) {
		l = calloc(1, sizeof(*l));
		if (!l)
			return NULL;
		l->program = program ? strdup(program) : NULL;
		l->file = strdup(file);
		l->next = learners;
		learners = l;
	}
	if (l->pages != pages || !l->past) {
		free(l->past);
		l->past = calloc(pages ? pages : 1, sizeof(*l->past));
		l->pages = pages;
		l->taught = 0;
	}
	return l->past && l->file && (l->program || !program) ? l : NULL;
}

static struct sums count(const struct learner *l, const struct policy *policy,
			 const uint8_t *touched)
{
	struct sums sum = { 0 };
	bool predicted;
	size_t page;

	for (page = 0; page < l->pages; page++) {
		predicted = policy->predicts(&l->past[page], policy->n);
		sum.predicted += predicted;
		sum.touched += touched[page];
		sum.hits += predicted && touched[page];
	}
	return sum;
}

static void add(struct sums *to, const struct sums *sum)
{
	to->predicted += sum->predicted;
	to->touched += sum->touched;
	to->hits += sum->hits;
}

static void count_all(const struct learner *shared, const struct learner *own,
		      const uint8_t *touched)
{
	unsigned int stage = NR_STAGES - 1;
	struct sums sum;
	size_t i;

	while (stages[stage].launches > shared->taught)
		stage--;
	for (i = 0; i < NR_POLICIES; i++) {
		sum = count(policies[i].per_program ? own : shared,
			    &policies[i], touched);
		add(&sums[i], &sum);
		if (i != KERNEL_POLICY)
			continue;
		add(&learned[stage], &sum);
		if (!own->taught)
			add(&from_others, &sum);
	}
}

/* One object of a launch; the first time that it is seen only teaches. */
static bool replay(const char *program, const char *file, size_t pages,
		   const uint8_t *touched)
{
	struct learner *shared = find_learner(NULL, file, pages);
	struct learner *own = find_learner(program, file, pages);
	size_t page;

	if (!shared || !own)
		return false;
	if (shared->taught)
		count_all(shared, own, touched);
	for (page = 0; page < pages; page++) {
		teach(&shared->past[page], touched[page], !shared->taught);
		teach(&own->past[page], touched[page], !own->taught);
	}
	shared->taught++;
	own->taught++;
	nr_objects++;
	return true;
}

static json_object *get(json_object *object, const char *key,
			json_type type)
{
	json_object *value = NULL;

	if (!json_object_is_type(object, json_type_object) ||
	    !json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, type))
		return NULL;
	return value;
}

/* At most @max, or false. */
static bool get_number(json_object *value, uint64_t max, uint64_t *number)
{
	if (!json_object_is_type(value, json_type_int) ||
	    json_object_get_int64(value) < 0)
		return false;
	*number = json_object_get_uint64(value);
	return *number <= max;
}

static bool read_range(json_object *range, uint8_t *touched, size_t pages)
{
	uint64_t first, end;

	if (!json_object_is_type(range, json_type_array) ||
	    json_object_array_length(range) != 2 || !pages ||
	    !get_number(json_object_array_get_idx(range, 0), pages - 1,
			&first) ||
	    !get_number(json_object_array_get_idx(range, 1), pages - 1, &end))
		return false;
	for (; first <= end; first++)
		touched[first] = 1;
	return true;
}

/* The pages of one segment after the other; NULL: not as it should be. */
static uint8_t *read_pages(json_object *segments, size_t *pagesp)
{
	size_t n = json_object_array_length(segments), i, k, total = 0;
	uint8_t *touched = malloc(1), *more;
	json_object *segment, *ranges;
	uint64_t pages;

	for (i = 0; touched && i < n; i++) {
		segment = json_object_array_get_idx(segments, i);
		ranges = get(segment, "predicted_ranges", json_type_array);
		if (!ranges || !get_number(get(segment, "pages", json_type_int),
					   MAX_PAGES - total, &pages))
			goto bad;
		more = realloc(touched, total + pages + 1);
		if (!more)
			goto bad;
		touched = more;
		memset(touched + total, 0, pages);
		for (k = 0; k < json_object_array_length(ranges); k++)
			if (!read_range(json_object_array_get_idx(ranges, k),
					touched + total, pages))
				goto bad;
		total += pages;
	}
	*pagesp = total;
	return touched;
bad:
	free(touched);
	return NULL;
}

/* NULL, or what is wrong with it. */
static const char *read_file(json_object *object, const char *program)
{
	json_object *file = get(object, "file", json_type_string);
	json_object *segments = get(object, "segments", json_type_array);
	uint8_t *touched;
	uint64_t launches;
	size_t pages;
	bool done;

	if (!file || !segments ||
	    !get_number(get(object, "launches", json_type_int), UINT32_MAX,
			&launches))
		return "not what show --json prints";
	if (launches > 1)
		return "a file that learned from more than one launch";
	if (!launches)
		return NULL;
	touched = read_pages(segments, &pages);
	if (!touched)
		return "damaged segments";
	done = replay(program, json_object_get_string(file), pages, touched);
	free(touched);
	return done ? NULL : strerror(ENOMEM);
}

static const char *read_launch(json_object *document)
{
	json_object *files = get(document, "files", json_type_array), *program;
	const char *why = NULL;
	size_t i;

	if (!files || !json_object_array_length(files))
		return "not what show --json prints";
	program = get(json_object_array_get_idx(files, 0), "file",
		      json_type_string);
	if (!program)
		return "not what show --json prints";
	for (i = 0; !why && i < json_object_array_length(files); i++)
		why = read_file(json_object_array_get_idx(files, i),
				json_object_get_string(program));
	nr_launches++;
	return why;
}

/* One document after the other. */
static const char *read_trace(const char *text, json_tokener *tokener)
{
	static const char space[] = " \t\r\n";
	const char *why = NULL;
	json_object *document;

	text += strspn(text, space);
	if (!*text)
		return "no launch";
	while (*text && !why) {
		document = json_tokener_parse_ex(tokener, text, strlen(text));
		if (!document)
			return "not JSON";
		why = read_launch(document);
		json_object_put(document);
		text += json_tokener_get_parse_end(tokener);
		text += strspn(text, space);
	}
	return why;
}

static int eval_file(struct tool *tool, const char *file)
{
	json_tokener *tokener;
	const char *why;
	char *text;

	text = read_text(file);
	if (!text) {
		why = errno ? strerror(errno) : "no launch";
		say(tool, PBITMAP_LOG_ERROR, why);
		return EXIT_FAILED;
	}
	tokener = json_tokener_new();
	why = tokener ? read_trace(text, tokener) : strerror(ENOMEM);
	if (why)
		say(tool, PBITMAP_LOG_ERROR, why);
	if (tokener)
		json_tokener_free(tokener);
	free(text);
	return why ? EXIT_FAILED : EXIT_DONE;
}

static double part(uint64_t of, uint64_t all)
{
	return all ? (double)of / all : 0;
}

static void print_sums(const char *name, const struct sums *s)
{
	printf("%-18s %8.1f %% %8.1f %% %8.1f %% %8" PRIu64 " %8" PRIu64 "\n",
	       name, 100 * part(s->hits, s->predicted),
	       100 * part(s->hits, s->touched),
	       100 * part(s->predicted - s->hits, s->touched),
	       s->touched - s->hits, s->predicted - s->hits);
}

static void print_heading(const char *name)
{
	printf("%-18s %10s %10s %10s %8s %8s\n", name, "precision", "recall",
	       "over-read", "missed", "in vain");
}

static void print_text(void)
{
	size_t i;

	printf("%" PRIu64 " launches, %" PRIu64 " objects in all\n",
	       nr_launches, nr_objects);
	print_heading("predictor");
	for (i = 0; i < NR_POLICIES; i++)
		print_sums(policies[i].name, &sums[i]);
	printf("\n");
	print_heading("2-bit, learned by");
	for (i = 0; i < NR_STAGES; i++)
		print_sums(stages[i].name, &learned[i]);
	print_sums("other programs", &from_others);
}

static json_object *json_sums(const char *name, const struct sums *s)
{
	json_object *object = json_object_new_object();

	json_object_object_add(object, "name", json_object_new_string(name));
	add_number(object, "predicted", s->predicted);
	add_number(object, "touched", s->touched);
	add_number(object, "predicted_and_touched", s->hits);
	add_part(object, "precision", part(s->hits, s->predicted));
	add_part(object, "recall", part(s->hits, s->touched));
	add_part(object, "over_read", part(s->predicted - s->hits, s->touched));
	return object;
}

static void print_json(void)
{
	json_object *predictors = json_object_new_array();
	json_object *learning = json_object_new_array();
	json_object *root = json_object_new_object();
	size_t i;

	for (i = 0; i < NR_POLICIES; i++)
		json_object_array_add(predictors,
				      json_sums(policies[i].name, &sums[i]));
	for (i = 0; i < NR_STAGES; i++)
		json_object_array_add(learning,
				      json_sums(stages[i].name, &learned[i]));
	json_object_array_add(learning,
			      json_sums("other programs", &from_others));
	json_object_object_add(root, "version", json_object_new_int(1));
	add_number(root, "launches", nr_launches);
	add_number(root, "objects", nr_objects);
	json_object_object_add(root, "predictors", predictors);
	json_object_object_add(root, "learning", learning);
	print_document(root);
}

static int eval_end(struct tool *tool)
{
	struct learner *l;

	if (tool->json)
		print_json();
	else if (nr_launches)
		print_text();
	while ((l = learners)) {
		learners = l->next;
		free(l->program);
		free(l->file);
		free(l->past);
		free(l);
	}
	return EXIT_DONE;
}

static const struct tool_option eval_options[] = {
	OPTION_JSON,
	{ }
};

const struct command eval_command = {
	.name = "eval",
	.operands = "TRACE...",
	.help = "print what predictors make of recorded launches",
	.options = eval_options,
	.work = eval_file,
	.end = eval_end,
};
