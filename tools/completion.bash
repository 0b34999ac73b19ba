# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of pbitmap's commands, options and files for bash.

_pbitmap()
{
	local word=${COMP_WORDS[COMP_CWORD]} common='--help --quiet --verbose'
	local -A options=(
		[add]="--force --dry-run --page-size= --preserve $common"
		[remove]="--force --dry-run --preserve $common"
		[show]="--json $common"
	)
	local candidates

	if ((COMP_CWORD == 1)); then
		candidates="${!options[*]} --help --version"
	elif [[ $word == -* ]]; then
		candidates=${options[${COMP_WORDS[1]}]-}
	fi
	mapfile -t COMPREPLY < <(compgen -W "$candidates" -- "$word")
}
complete -o default -F _pbitmap pbitmap
