// SPDX-License-Identifier: GPL-2.0-or-later
/* Something to compile. */
int puts(const char *text);

int main(void)
{
	return puts("hello") < 0;
}
