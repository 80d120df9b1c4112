# bash completion of kongtap. The options are asked of the program, so that they are those of the installed version.

_kongtap_options() {
	"$1" help config 2>/dev/null | sed -n 's/^  \([a-z][a-z_]*\): .*/\1/p' | tr _ -
}

_kongtap_values() { # program, option without dashes
	"$1" help reference 2>/dev/null |
		sed -n "s/^| \`$(tr - _ <<<"$2")\`[^|]*| one of \([^|]*\) |.*/\1/p" | tr -d ,
}

_kongtap() {
	local program=$1 current=$2 previous=$3 name values
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W 'run check replay help --version --help' -- "$current")
		return
	fi
	if [ "${COMP_WORDS[1]}" = help ]; then
		mapfile -t COMPREPLY < <(compgen -W 'run check replay config reference' -- "$current")
		return
	fi
	# Bash takes --name=value apart at the equals sign.
	[ "$current" = = ] && current=
	[ "$previous" = = ] && previous=${COMP_WORDS[COMP_CWORD - 2]}
	case $previous in
	-c | --config | --kong-config | --application-id-file | --ca-file | --output-file | --record)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	--spool-dir)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$current")
		return
		;;
	--?*)
		name=${previous#--}
		values=$(_kongtap_values "$program" "$name")
		if [ -n "$values" ]; then
			mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
			return
		fi
		;;
	esac
	if [[ $current == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "-c $(_kongtap_options "$program" | sed 's/^/--/')" -- "$current")
	elif [ "${COMP_WORDS[1]}" = replay ]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
	fi
}

complete -F _kongtap kongtap
