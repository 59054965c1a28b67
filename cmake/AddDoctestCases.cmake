# Run after a test program is linked: writes one add_test per doctest case.
#   cmake -DPROGRAM=... -DOUTPUT=... -DPREFIX=... -DLABELS=... -DTIMEOUT=... [-DEMULATOR=...] [-DSLOW=...] -P AddDoctestCases.cmake
# EMULATOR: the command that runs PROGRAM here. SLOW: a regular expression of the cases that get the label slow instead.
# Not doctest's own script, because that one takes names for CMake lists: a name with ';' became two tests which ran
# nothing and passed, and one with '[' or ']' broke the whole file.
execute_process(COMMAND ${EMULATOR} "${PROGRAM}" --list-test-cases --no-colors=true
  OUTPUT_VARIABLE listing RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} --list-test-cases failed: ${result}\n${listing}")
endif()
set(runner "")
foreach(word IN LISTS EMULATOR)
  string(APPEND runner "[==[${word}]==] ")
endforeach()
# Nobody's own tuned tiles: what a test sees is the same everywhere.
get_filename_component(cache "${OUTPUT}" DIRECTORY)
string(APPEND cache "/cache")
# Stand-ins for what lists give a meaning to, put back when the line is written.
string(ASCII 1 semicolon)
string(ASCII 2 open)
string(ASCII 3 close)
string(REPLACE ";" "${semicolon}" listing "${listing}")
string(REPLACE "[" "${open}" listing "${listing}")
string(REPLACE "]" "${close}" listing "${listing}")
string(REPLACE "\n" ";" lines "${listing}")
set(script "")
foreach(line IN LISTS lines)
  if(line STREQUAL "" OR line MATCHES "^=+$" OR line MATCHES "^${open}doctest${close}")
    continue()
  endif()
  set(labels "${LABELS}")
  if(NOT SLOW STREQUAL "" AND line MATCHES "${SLOW}")
    set(labels slow)
  endif()
  string(REPLACE "," "\\," filter "${line}")  # doctest separates filters by commas
  string(APPEND script "add_test([==[${PREFIX}${line}]==] ${runner}[==[${PROGRAM}]==] [==[--test-case=${filter}]==])\n"
    "set_tests_properties([==[${PREFIX}${line}]==] PROPERTIES LABELS [==[${labels}]==] TIMEOUT ${TIMEOUT}"
    " ENVIRONMENT [==[XDG_CACHE_HOME=${cache}]==])\n")
endforeach()
string(REPLACE "${semicolon}" ";" script "${script}")
string(REPLACE "${open}" "[" script "${script}")
string(REPLACE "${close}" "]" script "${script}")
file(WRITE "${OUTPUT}" "${script}")
