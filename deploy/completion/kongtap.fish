# fish completion of kongtap. The options are asked of the program, so that they are those of the installed version.

function __kongtap_options
    kongtap help config 2>/dev/null | awk '/^  [a-z][a-z_]*: / {
        name = $1; sub(/:$/, "", name); gsub(/_/, "-", name); getline; sub(/^ +/, ""); print "--" name "\t" $0 }'
end

complete -c kongtap -f
complete -c kongtap -n __fish_use_subcommand -a run -d 'watch, and ship to Moesif or print'
complete -c kongtap -n __fish_use_subcommand -a check -d 'say what this host allows and what would be captured'
complete -c kongtap -n __fish_use_subcommand -a replay -d 'what run would have made of a recording'
complete -c kongtap -n __fish_use_subcommand -a help -d 'more on a command, and every option'
complete -c kongtap -n '__fish_seen_subcommand_from help' -a 'run check replay config reference'
complete -c kongtap -n '__fish_seen_subcommand_from run check replay' -a '(__kongtap_options)'
complete -c kongtap -n '__fish_seen_subcommand_from replay' -F
complete -c kongtap -s c -r -F -d 'configuration file'
