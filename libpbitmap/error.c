// SPDX-License-Identifier: LGPL-2.1-or-later
/* Errors and messages. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static void vlog(const struct pbitmap_options *options,
		 enum pbitmap_level level, const char *format, va_list ap)
{
	char message[256];

	if (!options->log)
		return;
	vsnprintf(message, sizeof(message), format, ap);
	options->log(options->log_arg, level, message);
}

void pb_log(const struct pbitmap_options *options, enum pbitmap_level level,
	    const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vlog(options, level, format, ap);
	va_end(ap);
}

/* Logs the message and returns -@error, to be returned by the caller. */
int pb_fail(const struct pbitmap_options *options, int error,
	    const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vlog(options, PBITMAP_LOG_ERROR, format, ap);
	va_end(ap);
	return -error;
}

int pb_fail_errno(const struct pbitmap_options *options, const char *what)
{
	int error = errno ? errno : EIO;

	return pb_fail(options, error, "%s: %s", what,
		       pbitmap_strerror(error));
}

int pb_fail_read(const struct pbitmap *pb)
{
	return pb_fail(&pb->options, pb->error, "read: %s",
		       pbitmap_strerror(pb->error));
}

int pb_refuse(const struct pbitmap *pb, const char *why)
{
	return pb_fail(&pb->options, PBITMAP_ERR_REFUSED, "refused: %s", why);
}

/* The caller's options as far as it knows them, defaults for the rest. */
struct pbitmap_options pb_options(const struct pbitmap_options *options)
{
	struct pbitmap_options own = { .sz = sizeof(own) };

	if (options)
		memcpy(&own, options, options->sz < sizeof(own) ?
		       options->sz : sizeof(own));
	return own;
}

EXPORT const char *pbitmap_strerror(int error)
{
	const char *text;

	switch (abs(error)) {
	case PBITMAP_ERR_NOT_ELF:
		return "not an ELF file";
	case PBITMAP_ERR_FORMAT:
		return "damaged ELF file";
	case PBITMAP_ERR_REFUSED:
		return "refused";
	case PBITMAP_ERR_CHANGED:
		return "changed while it was worked on";
	case PBITMAP_ERR_NO_BITMAP:
		return "no bitmap";
	case PBITMAP_ERR_STALE:
		return "bitmap of something else";
	}
	text = strerrordesc_np(abs(error));
	return text ? text : "unknown error";
}
