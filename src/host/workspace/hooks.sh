# Installs the hook $1 in the repository whose checkout this directory is. Says where it is, and what became of the one before.
if ! hooks=$(git rev-parse --git-path hooks 2>/dev/null) || [ "$(git rev-parse --is-inside-work-tree)" != true ]; then
    echo "there is no git repository"
    exit 10
fi
# Where git looks is where the hook must be, also when that is not the usual place; but never outside of the workspace.
where=$(realpath -m -- "$hooks")
case $where/ in
"$(realpath -- "$2")"/*) ;;
*)
    echo "git looks for hooks in $where, outside of the workspace"
    exit 10
    ;;
esac
if git ls-files --error-unmatch -- "$where/pre-commit" >/dev/null 2>&1; then
    echo "the hook $where/pre-commit is a file of the repository itself"
    exit 10
fi
mkdir -p -- "$where" && cd -- "$where" || exit
# One at a time: what is half written here was then left by one that was killed.
if command -v flock >/dev/null && exec 9<. && flock 9; then
    rm -f -- .pre-commit.rekindle-*
fi
before=none
if [ -e pre-commit ] || [ -L pre-commit ]; then
    if grep -qE 'installed by (Rekindle|OpenHands)' pre-commit; then
        :
    elif [ -e pre-commit.local ] || [ -L pre-commit.local ]; then
        echo "both pre-commit and pre-commit.local are there in $where"
        exit 10
    else
        mv -- pre-commit pre-commit.local || exit
    fi
fi
[ -e pre-commit.local ] && before=pre-commit.local
new=.pre-commit.rekindle-$$
printf '%s' "$1" >"$new" && chmod 755 "$new" && mv -f -- "$new" pre-commit || exit
printf '%s\n%s\n' "$where/pre-commit" "$before"
