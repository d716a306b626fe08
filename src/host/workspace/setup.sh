# Runs $__rekindle_script in a shell of its own, in $__rekindle_directory, so that `exit`, `set -e` and `cd` there end or move nothing
# else; what it has exported and which functions it has made is then taken over. It is kept in a file that has no name any more, since
# there may be secrets in it.
if __rekindle_name=$(mktemp); then
    exec {__rekindle_kept}<>"$__rekindle_name"
    rm -f -- "$__rekindle_name"
else
    exec {__rekindle_kept}<>/dev/null
fi
(
    __rekindle_keep() {
        set +eux
        export -n PWD OLDPWD SHLVL
        {
            declare -px
            declare -F | while read -r _ _ name; do
                case $name in __rekindle_*) ;; *) declare -f -- "$name" ;; esac
            done
        } >&"$__rekindle_kept" 2>/dev/null
    }
    trap __rekindle_keep EXIT
    cd -- "$__rekindle_directory" || exit
    exec {__rekindle_words}< <(printf '%s\n' "$__rekindle_script")
    unset __rekindle_directory __rekindle_name __rekindle_script
    source "/dev/fd/$__rekindle_words"
    __rekindle_code=$?
    __rekindle_keep
    exit "$__rekindle_code"
) </dev/null
__rekindle_code=$?
source "/dev/fd/$__rekindle_kept" 2>/dev/null
exec {__rekindle_kept}>&-
eval "unset __rekindle_kept __rekindle_name __rekindle_directory __rekindle_script __rekindle_code; (exit $__rekindle_code)"
