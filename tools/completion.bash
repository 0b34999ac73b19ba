# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of pbitmap's commands, options and files for bash. Both are what
# the command's own --help says.

_pbitmap()
{
	local word=${COMP_WORDS[COMP_CWORD]} candidates

	if ((COMP_CWORD == 1)); then
		candidates=$(pbitmap --help | sed -n \
			'/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p')
		candidates+=' --help --version'
	elif [[ $word == -* ]]; then
		candidates=$(pbitmap "${COMP_WORDS[1]}" --help 2>/dev/null |
			sed -n 's/^  ...  *\(--[a-z-]*=*\).*/\1/p')
	fi
	mapfile -t COMPREPLY < <(compgen -W "$candidates" -- "$word")
	# What follows is the value.
	if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]]; then
		compopt -o nospace
	fi
}
complete -o default -F _pbitmap pbitmap
