# bash completion of tinyci(1); the command itself knows what may come next.
_tinyci() {
    local IFS=$'\n'
    # shellcheck disable=SC2207 # one candidate a line
    COMPREPLY=($(tinyci complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f 1))
}
complete -F _tinyci tinyci
