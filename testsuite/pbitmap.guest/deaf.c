// SPDX-License-Identifier: GPL-2.0-or-later
/* Mount a FUSE file system on the directory given that never answers. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char options[64];
	int fd = open("/dev/fuse", O_RDWR);

	if (argc != 2 || fd < 0)
		err(2, "usage: deaf DIRECTORY, with /dev/fuse");
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (mount("deaf", argv[1], "fuse", 0, options))
		err(1, "%s", argv[1]);
	pause();
	return 0;
}
