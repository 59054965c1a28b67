# prints.sh PATTERN COMMAND...: passes where the command ends with 0 and a line that it prints fits PATTERN, as grep -E
# takes it. CTest's PASS_REGULAR_EXPRESSION asks for the line alone: what prints it and then crashes would pass.
pattern=$1
shift
printed=$("$@" 2>&1)
status=$?
printf '%s\n' "$printed"
if [ "$status" -ne 0 ]; then
  echo "prints.sh: it ended with $status"
  exit 1
fi
if ! printf '%s\n' "$printed" | grep -Eq -e "$pattern"; then
  echo "prints.sh: no line fits '$pattern'"
  exit 1
fi
