# Goes to the branch $1 of the checkout in this directory, without losing anything; one that is `fresh` ($2) may be made.
if [ "$2" = fresh ] && ! git rev-parse --quiet --verify "refs/heads/$1" >/dev/null; then
    git checkout --quiet -b "$1"
    exit
fi
git checkout --quiet "$1" -- && exit
code=$?
echo "its branches are:" $(git for-each-ref --format='%(refname:lstrip=2)' refs/heads refs/remotes | head -n 20)
exit "$code"
