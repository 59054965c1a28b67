# test_prints.sh: prints.sh beside it wants both, the line and the exit status.
prints="$(dirname "$0")/prints.sh"
faults=0
# expect STATUS PATTERN SCRIPT
expect() {
  said=$(sh "$prints" "$2" sh -c "$3")
  status=$?
  if [ "$status" -ne "$1" ]; then
    echo "'$3' for '$2' gave $status, $1 was expected: $said"
    faults=1
  fi
}
expect 0 'ran on [a-z]+' 'echo first; echo "it ran on cpu"'
expect 0 'ran on' 'echo "ran on cpu" >&2'
expect 0 '-5 ticks' 'echo "-5 ticks"'
expect 1 'ran on' 'echo "ran on cpu"; exit 1'
expect 1 'ran on' 'echo "ran on cpu"; kill -KILL $$'
expect 1 'ran on' 'echo "ran off"'
expect 1 'ran on' 'exit 0'
exit $faults
