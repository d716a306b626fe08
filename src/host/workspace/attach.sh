# Looks at the checkout in this directory. Says its origin, its branch and its commit, each in a line; 10 when it is none.
if ! prefix=$(git rev-parse --show-prefix 2>&1); then
    printf '%s\n' "$prefix"
    exit 10
fi
if [ -n "$prefix" ] || [ "$(git rev-parse --is-inside-work-tree)" != true ]; then
    echo "it is no checkout of its own"
    exit 10
fi
git config --get remote.origin.url || echo
git symbolic-ref --quiet --short HEAD || echo
git rev-parse --quiet --verify HEAD || echo
