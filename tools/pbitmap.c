// SPDX-License-Identifier: GPL-2.0-or-later
/* pbitmap: the command; its verbs, their options, its messages. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

static const struct command *const commands[] = {
	&add_command,
	&remove_command,
	&reset_command,
	&show_command,
	&report_command,
	&merge_command,
	&export_command,
	&import_command,
	&verify_command,
	&status_command,
	&link_command,
	&eval_command,
};

static const size_t nr_commands = sizeof(commands) / sizeof(*commands);

#define MAX_OPTIONS	32

static const struct tool_option common_options[] = {
	{ 'h', "help", NULL, "print this text" },
	{ 'q', "quiet", NULL, "print errors only" },
	{ 'v', "verbose", NULL, "say what is done, and a summary" },
	{ 'V', "version", NULL, "print the version" },
	{ }
};

static void help_options(const struct tool_option *o)
{
	char left[40], letter[8];
	const char *line, *end;

	for (; o && o->name; o++) {
		snprintf(letter, sizeof(letter), "-%c,", o->letter);
		snprintf(left, sizeof(left), "%3s --%s%s%s",
			 o->letter > 255 ? "" : letter, o->name,
			 o->argument ? "=" : "", o->argument ?: "");
		printf("  %-22s", left);
		for (line = o->help; ; line = end + 1) {
			end = strchrnul(line, '\n');
			printf("  %.*s\n", (int)(end - line), line);
			if (!*end)
				break;
			printf("%24s", "");
		}
	}
}

static void help(const struct command *command)
{
	size_t i;

	if (command) {
		printf("Usage: pbitmap %s [OPTION...]%s%s\n%s\n\nOptions:\n",
		       command->name, *command->operands ? " " : "",
		       command->operands, command->help);
		help_options(command->options);
		help_options(common_options);
		return;
	}
	printf("Usage: pbitmap COMMAND [OPTION...] [FILE...]\n\nCommands:\n");
	for (i = 0; i < nr_commands; i++)
		printf("  %-8s %s\n", commands[i]->name, commands[i]->help);
	printf("\nOptions of all commands; pbitmap COMMAND --help has more:\n");
	help_options(common_options);
	printf("\n"
"FILE may be @LIST, a file with one name on each line, or - for standard\n"
"input as such a list.\n"
"\n"
"Exit status: 0 done or nothing to do, 1 failed, 2 wrong usage,\n"
"3 no bitmap or a stale one, 4 refused.\n");
}

/* The command that is being run, if it is known. */
static const struct command *running;

int usage(const char *text, const char *what)
{
	fprintf(stderr, "pbitmap: %s%s\nTry 'pbitmap %s%s--help'.\n", text,
		what, running ? running->name : "", running ? " " : "");
	return EXIT_USAGE;
}

void say(struct tool *tool, enum pbitmap_level level, const char *text)
{
	static const int needed[] = {
		[PBITMAP_LOG_ERROR] = -1,
		[PBITMAP_LOG_WARNING] = 0,
		[PBITMAP_LOG_INFO] = 1,
	};

	if (level != PBITMAP_LOG_INFO)
		snprintf(tool->message, sizeof(tool->message), "%s", text);
	if (tool->verbosity < needed[level])
		return;
	progress_clear();
	fprintf(stderr, "pbitmap: %s: %s\n", tool->file, text);
}

static void log_message(void *arg, enum pbitmap_level level,
			const char *message)
{
	say(arg, level, message);
}

int exit_code(int error)
{
	if (error >= 0)
		return EXIT_DONE;
	switch (-error) {
	case PBITMAP_ERR_REFUSED:
		return EXIT_REFUSED;
	case PBITMAP_ERR_NO_BITMAP:
	case PBITMAP_ERR_STALE:
		return EXIT_NO_BITMAP;
	default:
		return EXIT_FAILED;
	}
}

bool parse_number(const char *text, unsigned long min, unsigned long max,
		  unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 0);
	return *text >= '0' && *text <= '9' && !*end && !errno &&
	       *value >= min && *value <= max;
}

static bool parse_page_size(const char *text, unsigned int *size)
{
	unsigned long value;

	if (!parse_number(text, 4096, 65536, &value) || value & (value - 1))
		return false;
	*size = value;
	return true;
}

/* An option that means the same in each command that has it. */
static bool set_option(const struct command *command, struct tool *tool,
		       int letter, const char *value)
{
	unsigned long number;

	switch (letter) {
	case 'f':
		tool->options.flags |= PBITMAP_FORCE;
		return true;
	case LETTER_JSON:
		tool->json = true;
		return true;
	case LETTER_HARDLINKS:
		tool->hardlinks = true;
		return true;
	case 'j':
		if (!parse_number(value, 1, MAX_JOBS, &number))
			return false;
		tool->jobs = number;
		return true;
	case 'n':
		tool->options.flags |= PBITMAP_DRY_RUN;
		return true;
	case 'o':
		tool->output = value;
		return true;
	case 'p':
		tool->options.flags |= PBITMAP_KEEP_TIMES;
		return true;
	case 'P':
		return parse_page_size(value, &tool->options.page_size);
	case 'q':
		tool->verbosity = -1;
		return true;
	case 'r':
		tool->recursive = true;
		return true;
	case 'v':
		tool->verbosity = 1;
		return true;
	}
	return command->option && command->option(tool, letter, value);
}

/* What getopt_long() wants to know, from tables of ours. */
struct getopt_options {
	struct option long_options[MAX_OPTIONS];
	char letters[2 * MAX_OPTIONS + 2];
};

static void add_options(struct getopt_options *g, const struct tool_option *o)
{
	size_t n = strlen(g->letters), i = 0;

	while (g->long_options[i].name)
		i++;
	for (; o && o->name && i < MAX_OPTIONS - 1; o++, i++) {
		g->long_options[i].name = o->name;
		g->long_options[i].has_arg = o->argument ? required_argument :
							   no_argument;
		g->long_options[i].val = o->letter;
		if (o->letter > 255)
			continue;
		g->letters[n++] = o->letter;
		if (o->argument)
			g->letters[n++] = ':';
	}
}

static int wrong_value(const struct getopt_options *g, int letter,
		       const char *value)
{
	const struct option *o = g->long_options;
	char text[64];

	while (o->name && o->val != letter)
		o++;
	snprintf(text, sizeof(text), "wrong value for --%s: ", o->name ?: "");
	return usage(text, value);
}

/* Options of @command; returns its exit code, or -1 to go on. */
static int parse(const struct command *command, struct tool *tool, int argc,
		 char **argv)
{
	struct getopt_options known = { };
	int letter;

	/* Behind the first argument of run() may be options of others. */
	strcpy(known.letters, command && command->run ? "+:" : ":");
	if (command)
		add_options(&known, command->options);
	add_options(&known, common_options);
	opterr = 0;
	while ((letter = getopt_long(argc, argv, known.letters,
				     known.long_options, NULL)) != -1) {
		switch (letter) {
		case 'h':
			help(command);
			return EXIT_DONE;
		case 'V':
			printf("pbitmap %s\n", VERSION);
			return EXIT_DONE;
		case ':':
			return usage("no value for ", argv[optind - 1]);
		case '?':
			return usage("wrong option: ", argv[optind - 1]);
		}
		if (!set_option(command, tool, letter, optarg))
			return wrong_value(&known, letter, optarg);
	}
	return -1;
}

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < nr_commands; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

/* Data that could not be written is a failure. */
static int finish(int code)
{
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "pbitmap: standard output: %s\n",
			strerror(errno));
		return EXIT_FAILED;
	}
	return code;
}

int main(int argc, char **argv)
{
	const struct command *command;
	struct tool tool = {
		.options = {
			.sz = sizeof(tool.options),
			.log = log_message,
			.log_arg = &tool,
		},
		.jobs = 1,
	};
	int code;

	if (argc < 2)
		return usage("no command", "");
	if (argv[1][0] == '-') {
		code = parse(NULL, &tool, argc, argv);
		return code < 0 ? usage("no command", "") : finish(code);
	}
	command = find_command(argv[1]);
	if (!command)
		return usage("no such command: ", argv[1]);
	running = command;
	code = parse(command, &tool, argc - 1, argv + 1);
	if (code >= 0)
		return finish(code);
	argv += 1 + optind;
	if (!*argv && !command->no_arguments)
		return usage("no file", "");
	if (command->first) {
		if (!argv[1])
			return usage("no file", "");
		code = command->first(&tool, *argv++);
		if (code)
			return code;
	}
	if (command->run)
		return finish(command->run(&tool, argv));
	return finish(work_on_files(command, &tool, argv));
}
