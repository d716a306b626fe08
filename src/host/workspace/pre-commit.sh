#!/bin/sh
# This hook was installed by Rekindle. What was here before is pre-commit.local, and runs first.
before=$(dirname -- "$0")/pre-commit.local
if [ -x "$before" ]; then
    "$before" "$@" || exit
fi
script=.openhands/pre-commit.sh
if [ -x "$script" ]; then
    exec "./$script" "$@"
elif [ -f "$script" ]; then
    exec bash "$script" "$@"
fi
