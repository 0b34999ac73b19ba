// SPDX-License-Identifier: GPL-2.0-or-later
/* pbitmap add and remove: give files a bitmap and take it away. */
#include "tool.h"

static bool is_dry(const struct tool *tool)
{
	return tool->options.flags & PBITMAP_DRY_RUN;
}

static int add_file(struct tool *tool, const char *file)
{
	int ret = pbitmap_add(file, &tool->options);

	if (ret >= 0) {
		tool->result = ret == PBITMAP_UNCHANGED ? "unchanged" : "added";
		say(tool, PBITMAP_LOG_INFO, ret == PBITMAP_UNCHANGED ?
		    "has a bitmap" : is_dry(tool) ? "to be added" : "added");
	}
	return exit_code(ret);
}

static int remove_file(struct tool *tool, const char *file)
{
	int ret = pbitmap_remove(file, &tool->options);

	if (ret == PBITMAP_UNCHANGED) {
		tool->result = "unchanged";
		say(tool, PBITMAP_LOG_INFO, "has no bitmap");
	} else if (ret >= 0) {
		tool->result = ret == PBITMAP_INEXACT ? "dropped" : "removed";
		if (ret == PBITMAP_WRITTEN)
			say(tool, PBITMAP_LOG_INFO, is_dry(tool) ?
			    "to be removed" : "removed");
	}
	return exit_code(ret);
}

static const struct tool_option add_options[] = {
	OPTION_FORCE,
	OPTION_JOBS,
	OPTION_JSON,
	OPTION_DRY_RUN,
	OPTION_PRESERVE,
	{ 'P', "page-size", "SIZE", "bytes of a page, 4096 by default" },
	OPTION_RECURSIVE,
	{ }
};

const struct command add_command = {
	.name = "add",
	.operands = "FILE...",
	.help = "give each FILE an empty bitmap",
	.options = add_options,
	.work = add_file,
	.parallel = true,
	.results = true,
};

static const struct tool_option remove_options[] = {
	OPTION_FORCE,
	OPTION_JOBS,
	OPTION_JSON,
	OPTION_DRY_RUN,
	OPTION_PRESERVE,
	OPTION_RECURSIVE,
	{ }
};

const struct command remove_command = {
	.name = "remove",
	.operands = "FILE...",
	.help = "take the bitmap of each FILE away",
	.options = remove_options,
	.work = remove_file,
	.parallel = true,
	.results = true,
};
