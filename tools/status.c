// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pbitmap status: what of the system makes use of bitmaps, and what good it
 * does.
 */
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "objects.h"
#include "tool.h"
#include "util.h"

#define ADVICE		0x7062		/* MADV_PBITMAP */
#define SYSCTL		"/proc/sys/vm/pbitmap_"
#define MAX_NUMBERS	64

/* Names without "pbitmap_", and values. */
struct numbers {
	struct {
		char name[32];
		uint64_t value;
	} list[MAX_NUMBERS];
	size_t count;
};

struct status {
	const char *kernel;
	const char *loader;
	struct numbers sysctls;
	struct numbers counters;
};

static void put(struct numbers *n, const char *name, size_t len,
		const char *value)
{
	if (n->count == MAX_NUMBERS || len >= sizeof(n->list->name))
		return;
	memcpy(n->list[n->count].name, name, len);
	n->list[n->count].name[len] = '\0';
	n->list[n->count].value = strtoull(value, NULL, 10);
	n->count++;
}

static const uint64_t *get(const struct numbers *n, const char *name)
{
	size_t i;

	for (i = 0; i < n->count; i++)
		if (!strcmp(n->list[i].name, name))
			return &n->list[i].value;
	return NULL;
}

static void read_sysctls(struct numbers *n)
{
	glob_t found;
	char *text;
	size_t i;

	if (glob(SYSCTL "*", 0, NULL, &found))
		return;
	for (i = 0; i < found.gl_pathc; i++) {
		const char *name = found.gl_pathv[i] + strlen(SYSCTL);

		text = read_text(found.gl_pathv[i]);
		if (text)
			put(n, name, strlen(name), text);
		free(text);
	}
	globfree(&found);
}

static void read_counters(struct numbers *n)
{
	char *text = read_text("/proc/vmstat"), *line, *save = NULL, *space;

	if (!text)
		return;
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		space = strchr(line, ' ');
		if (space && !strncmp(line, "pbitmap_", 8))
			put(n, line + 8, space - line - 8, space + 1);
	}
	free(text);
}

/* A kernel that knows the advice says EINVAL too while it is disabled. */
static const char *probe_kernel(const struct numbers *sysctls)
{
	const uint64_t *enabled = get(sysctls, "enabled");

	if (!madvise(NULL, 0, ADVICE))
		return "enabled";
	return enabled ? "disabled" : "unsupported";
}

/* Whether the dynamic linker of this very program knows the tunable. */
static const char *probe_loader(void)
{
	char *loader = find_interpreter("/proc/self/exe"), *line = NULL;
	char *arguments[] = { loader, "--list-tunables", NULL };
	bool supported = false;
	size_t size = 0;
	FILE *output;
	int ends[2];
	pid_t pid;

	if (!loader || pipe2(ends, O_CLOEXEC)) {
		free(loader);
		return "unknown";
	}
	pid = start_program(arguments, environ, -1, ends[1]);
	close(ends[1]);
	output = fdopen(ends[0], "r");
	while (output && getline(&line, &size, output) > 0)
		supported |= !strncmp(line, "glibc.rtld.pbitmap:", 19);
	free(line);
	if (output)
		fclose(output);
	free(loader);
	if (pid < 0 || end_of_program(pid))
		return "unknown";
	return supported ? "supported" : "unsupported";
}

/* A part of 1, or -1 if there is nothing to speak of. */
static double part(const struct numbers *n, const char *of, const char *all)
{
	const uint64_t *a = get(n, of), *b = get(n, all);

	return a && b && *b ? (double)*a / *b : -1;
}

static void text_part(const char *what, double value)
{
	if (value >= 0)
		printf("%s: %.1f %%\n", what, 100 * value);
}

static void text_numbers(const char *title, const struct numbers *n)
{
	size_t i;

	if (n->count)
		printf("%s:\n", title);
	for (i = 0; i < n->count; i++)
		printf("  %-16s %" PRIu64 "\n", n->list[i].name,
		       n->list[i].value);
}

static void text_status(const struct status *s)
{
	printf("kernel: %s\ndynamic linker: %s\n", s->kernel, s->loader);
	text_part("hit rate", part(&s->counters, "hit", "predicted"));
	text_part("coverage", part(&s->counters, "hit", "touched"));
	text_numbers("sysctl vm.pbitmap_", &s->sysctls);
	text_numbers("since the system was started", &s->counters);
}

static json_object *json_numbers(const struct numbers *n)
{
	json_object *object = json_object_new_object();
	size_t i;

	for (i = 0; i < n->count; i++)
		add_number(object, n->list[i].name, n->list[i].value);
	return object;
}

static void json_part(json_object *root, const char *key, double value)
{
	if (value >= 0)
		add_part(root, key, value);
}

static void json_status(const struct status *s)
{
	json_object *root = json_object_new_object();

	json_object_object_add(root, "version", json_object_new_int(1));
	json_object_object_add(root, "kernel",
			       json_object_new_string(s->kernel));
	json_object_object_add(root, "dynamic_linker",
			       json_object_new_string(s->loader));
	json_part(root, "hit_rate", part(&s->counters, "hit", "predicted"));
	json_part(root, "coverage", part(&s->counters, "hit", "touched"));
	json_object_object_add(root, "sysctls", json_numbers(&s->sysctls));
	json_object_object_add(root, "counters", json_numbers(&s->counters));
	print_document(root);
}

static int status(struct tool *tool, char **arguments)
{
	struct status s = { };

	if (*arguments)
		return usage("status takes no files: ", *arguments);
	read_sysctls(&s.sysctls);
	read_counters(&s.counters);
	s.kernel = probe_kernel(&s.sysctls);
	s.loader = probe_loader();
	if (tool->json)
		json_status(&s);
	else
		text_status(&s);
	return EXIT_DONE;
}

static const struct tool_option status_options[] = {
	OPTION_JSON,
	{ }
};

const struct command status_command = {
	.name = "status",
	.operands = "",
	.help = "say what of the system uses bitmaps, and how well",
	.options = status_options,
	.run = status,
	.no_arguments = true,
};
