// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The files that a command works on: names, lists and directories, some at a
 * time, and what became of each.
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

#define PROGRESS_FILES	16	/* fewer are done before one has looked */
#define PROGRESS_NS	100000000

/* What was done to a file. */
struct outcome {
	int code;
	const char *result;
	char *message;
};

/* Names of the same file are worked on one after the other. */
struct same {
	dev_t dev;
	ino_t ino;
	size_t name;		/* which */
	size_t next;		/* name of the same file, 0: no more */
	bool follows;		/* another name comes before */
};

/* All files of a call, and where the threads have got to. */
struct work {
	const struct command *command;
	const struct tool *tool;
	char **names;
	size_t nr_names, room;
	struct outcome *outcomes;
	struct same *same;	/* by name */
	pthread_mutex_t lock;
	size_t next, done;
	unsigned int count[5];
	int code;
};

/* The exit code that says more: failed, refused, no bitmap, done. */
int worse(int a, int b)
{
	static const int rank[] = {
		[EXIT_DONE] = 0,
		[EXIT_NO_BITMAP] = 1,
		[EXIT_REFUSED] = 2,
		[EXIT_FAILED] = 3,
	};

	return rank[a] > rank[b] ? a : b;
}

/*
 * The line of progress is standard error's, and a message clears it first;
 * both are of the terminal, which there is one of.
 */
static bool progress_shown;

void progress_clear(void)
{
	if (__atomic_exchange_n(&progress_shown, false, __ATOMIC_RELAXED))
		fputs("\r\033[K", stderr);
}

static void progress(const struct work *w)
{
	static struct timespec last;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((now.tv_sec - last.tv_sec) * 1000000000LL + now.tv_nsec -
	    last.tv_nsec < PROGRESS_NS)
		return;
	last = now;
	fprintf(stderr, "\r\033[Kpbitmap: %zu of %zu files", w->done,
		w->nr_names);
	__atomic_store_n(&progress_shown, true, __ATOMIC_RELAXED);
}

static bool add_name(struct work *w, const char *name)
{
	if (w->nr_names == w->room) {
		size_t room = w->room ? 2 * w->room : 64;
		char **names = reallocarray(w->names, room, sizeof(*names));

		if (!names)
			return false;
		w->names = names;
		w->room = room;
	}
	w->names[w->nr_names] = strdup(name);
	return w->names[w->nr_names] && ++w->nr_names;
}

static int fail(struct tool *tool, const char *file)
{
	tool->file = file;
	say(tool, PBITMAP_LOG_ERROR, strerror(errno));
	return EXIT_FAILED;
}

/* Whether the file begins like an executable or a shared object. */
static bool is_object(const char *path)
{
	unsigned char head[18];		/* to the end of e_type */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return errno == EACCES;	/* so that it is spoken of */
	n = pread(fd, head, sizeof(head), 0);
	close(fd);
	return n == sizeof(head) && !memcmp(head, "\177ELF", 4) &&
	       (head[16] | head[17]) <= 3 && (head[16] | head[17]) >= 2;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* The objects below @directory, in an order that is always the same. */
static int add_directory(struct work *w, struct tool *tool, char *directory)
{
	char *const roots[] = { directory, NULL };
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV,
			    by_name);
	int code = EXIT_DONE;
	FTSENT *entry;

	if (!fts)
		return fail(tool, directory);
	while ((entry = fts_read(fts))) {
		if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR) {
			errno = entry->fts_errno;
			code = fail(tool, entry->fts_path);
		} else if (entry->fts_info == FTS_F &&
			   is_object(entry->fts_path) &&
			   !add_name(w, entry->fts_path)) {
			code = fail(tool, directory);
			break;
		}
	}
	fts_close(fts);
	return code;
}

static bool is_directory(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static int add_file(struct work *w, struct tool *tool, char *name)
{
	if (tool->recursive && is_directory(name))
		return add_directory(w, tool, name);
	return add_name(w, name) ? EXIT_DONE : fail(tool, name);
}

/* Each line of @name, or of standard input for NULL, is a file. */
static int add_list(struct work *w, struct tool *tool, const char *name)
{
	const char *called = name ? name : "standard input";
	FILE *list = name ? fopen(name, "r") : stdin;
	int code = EXIT_DONE;
	char *line = NULL;
	size_t size = 0;

	if (!list)
		return fail(tool, called);
	while (getline(&line, &size, list) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (*line)
			code = worse(code, add_file(w, tool, line));
	}
	if (ferror(list))
		code = fail(tool, called);
	free(line);
	if (name)
		fclose(list);
	return code;
}

static int add_arguments(struct work *w, struct tool *tool, char **arguments)
{
	int code = EXIT_DONE, ret;

	for (; *arguments; arguments++) {
		if (!strcmp(*arguments, "-"))
			ret = add_list(w, tool, NULL);
		else if (**arguments == '@')
			ret = add_list(w, tool, *arguments + 1);
		else
			ret = add_file(w, tool, *arguments);
		code = worse(code, ret);
	}
	return code;
}

static int by_file(const void *a, const void *b)
{
	const struct same *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->name < y->name ? -1 : 1;
}

/* Finds out which names are of the same file. */
static bool find_same(struct work *w)
{
	struct same *sorted = calloc(w->nr_names + 1, sizeof(*sorted));
	struct stat st;
	size_t i;

	w->same = calloc(w->nr_names + 1, sizeof(*w->same));
	if (!sorted || !w->same) {
		free(sorted);
		return false;
	}
	for (i = 0; i < w->nr_names; i++) {
		sorted[i].name = i;
		if (!stat(w->names[i], &st)) {
			sorted[i].dev = st.st_dev;
			sorted[i].ino = st.st_ino;
		}
	}
	qsort(sorted, w->nr_names, sizeof(*sorted), by_file);
	for (i = 1; i < w->nr_names; i++) {
		const struct same *before = &sorted[i - 1], *s = &sorted[i];

		if (!s->ino || s->dev != before->dev || s->ino != before->ino)
			continue;
		w->same[before->name].next = s->name;
		w->same[s->name].follows = true;
	}
	free(sorted);
	return true;
}

/* One file, with @tool as this thread's own. */
static void work_on(struct work *w, struct tool *tool, size_t n)
{
	struct outcome *o = &w->outcomes[n];

	tool->file = w->names[n];
	tool->result = NULL;
	tool->message[0] = '\0';
	o->code = w->command->work(tool, tool->file);
	o->result = tool->result;
	if (tool->json && tool->message[0])
		o->message = strdup(tool->message);
}

/*
 * Other names of the file that name @n is the first of, without symbolic links
 * and each once; to be freed.
 */
static size_t find_links(struct work *w, size_t n, char **links)
{
	char *first = realpath(w->names[n], NULL), *name;
	size_t i, k, count = 0;

	for (i = w->same[n].next; first && i; i = w->same[i].next) {
		name = realpath(w->names[i], NULL);
		for (k = 0; name && k < count; k++)
			if (!strcmp(links[k], name))
				break;
		if (name && k == count && strcmp(name, first))
			links[count++] = name;
		else
			free(name);
	}
	free(first);
	return count;
}

/* All names of the file that name @n is the first of, as one. */
static void work_on_links(struct work *w, struct tool *tool, size_t n)
{
	char **links = calloc(w->nr_names, sizeof(*links));
	size_t i;

	if (!links) {
		w->outcomes[n].code = fail(tool, w->names[n]);
		return;
	}
	tool->options.links = (const char *const *)links;
	tool->options.nr_links = find_links(w, n, links);
	work_on(w, tool, n);
	for (i = w->same[n].next; i; i = w->same[i].next) {
		w->outcomes[i].code = w->outcomes[n].code;
		w->outcomes[i].result = w->outcomes[n].result;
	}
	for (i = 0; i < tool->options.nr_links; i++)
		free(links[i]);
	tool->options.links = NULL;
	tool->options.nr_links = 0;
	free(links);
}

static void work_on_names(struct work *w, struct tool *tool, size_t n)
{
	if (tool->hardlinks && w->same[n].next) {
		work_on_links(w, tool, n);
		return;
	}
	do
		work_on(w, tool, n);
	while ((n = w->same[n].next));
}

/* Adds up what became of the names of a file. */
static void count_outcomes(struct work *w, size_t n)
{
	do {
		w->done++;
		w->count[w->outcomes[n].code]++;
		w->code = worse(w->code, w->outcomes[n].code);
	} while ((n = w->same[n].next));
}

static void *work_thread(void *arg)
{
	struct work *w = arg;
	struct tool tool = *w->tool;
	bool shows = tool.verbosity == 0 && w->nr_names >= PROGRESS_FILES &&
		     isatty(STDERR_FILENO);
	size_t n;

	tool.options.log_arg = &tool;
	pthread_mutex_lock(&w->lock);
	while ((n = w->next) < w->nr_names) {
		w->next++;
		if (w->same[n].follows)
			continue;
		pthread_mutex_unlock(&w->lock);
		work_on_names(w, &tool, n);
		pthread_mutex_lock(&w->lock);
		count_outcomes(w, n);
		if (shows)
			progress(w);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* This thread works too, so that one is enough if there cannot be more. */
static void work_on_all(struct work *w)
{
	unsigned int jobs = w->command->parallel ? w->tool->jobs : 1, i;
	pthread_t threads[MAX_JOBS];

	if (jobs > w->nr_names)
		jobs = w->nr_names ? w->nr_names : 1;
	for (i = 1; i < jobs; i++)
		if (pthread_create(&threads[i], NULL, work_thread, w))
			break;
	work_thread(w);
	while (--i > 0)
		pthread_join(threads[i], NULL);
	progress_clear();
}

static void add_string(json_object *object, const char *key, const char *text)
{
	json_object_object_add(object, key, json_object_new_string(text));
}

static json_object *json_outcome(const char *name, const struct outcome *o)
{
	static const char *const codes[] = {
		[EXIT_DONE] = "done",
		[EXIT_FAILED] = "failed",
		[EXIT_NO_BITMAP] = "no_bitmap",
		[EXIT_REFUSED] = "refused",
	};
	json_object *object = json_object_new_object();

	add_string(object, "file", name);
	add_string(object, "result", o->result ?: codes[o->code]);
	if (o->message)
		add_string(object, "message", o->message);
	return object;
}

static void print_json(const struct work *w)
{
	json_object *root = json_object_new_object();
	json_object *files = json_object_new_array();
	size_t i;

	for (i = 0; i < w->nr_names; i++)
		json_object_array_add(files, json_outcome(w->names[i],
							  &w->outcomes[i]));
	json_object_object_add(root, "version", json_object_new_int(1));
	json_object_object_add(root, "files", files);
	puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(root);
}

static void summary(const struct work *w)
{
	const unsigned int *n = w->count;

	fprintf(stderr, "pbitmap: %u done, %u without a valid bitmap,"
		" %u refused, %u failed\n", n[EXIT_DONE], n[EXIT_NO_BITMAP],
		n[EXIT_REFUSED], n[EXIT_FAILED]);
}

static void free_work(struct work *w)
{
	size_t i;

	for (i = 0; i < w->nr_names; i++) {
		free(w->names[i]);
		if (w->outcomes)
			free(w->outcomes[i].message);
	}
	free(w->names);
	free(w->outcomes);
	free(w->same);
}

/* Calls the command for each file that the arguments speak of. */
int work_on_files(const struct command *command, struct tool *tool,
		  char **arguments)
{
	struct work w = {
		.command = command,
		.tool = tool,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	int code = add_arguments(&w, tool, arguments), ret;

	w.outcomes = calloc(w.nr_names + 1, sizeof(*w.outcomes));
	if (!w.outcomes || !find_same(&w)) {
		code = fail(tool, "files");
		goto out;
	}
	if (tool->output && command->one_output && w.nr_names != 1) {
		code = usage("--output is for one file", "");
		goto out;
	}
	if (command->one_output)
		tool->options.output = tool->output;
	ret = command->begin ? command->begin(tool) : EXIT_DONE;
	if (ret) {
		code = ret;
		goto out;
	}
	work_on_all(&w);
	code = worse(code, w.code);
	if (command->end)
		code = worse(code, command->end(tool));
	if (tool->json && command->results)
		print_json(&w);
	if (tool->verbosity > 0 || (tool->recursive && tool->verbosity == 0))
		summary(&w);
out:
	free_work(&w);
	return code;
}
