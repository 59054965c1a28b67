# Tests of the bindings: what languages this machine has, and what happens without one.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
set(SAGE_REQUIRE_BINDINGS OFF CACHE BOOL "A language whose tools are missing is a failed test, not a skipped one")
# Before the command of a test: a pattern that a line of its output must fit, beside the exit status 0.
set(SAGE_PRINTS sh "${CMAKE_SOURCE_DIR}/tests/support/prints.sh")

# sage_binding_tool(LANGUAGE VARIABLE NAMES...): finds a program. Without it the test LANGUAGE_binding says so: skipped,
# or failed where every binding is required. Sets VARIABLE as find_program does.
function(sage_binding_tool language variable)
  find_program(${variable} NAMES ${ARGN})
  if(${variable} OR TEST ${language}_binding)
    return()
  endif()
  list(GET ARGN 0 tool)
  set(code 77)
  if(SAGE_REQUIRE_BINDINGS)
    set(code 1)
  endif()
  add_test(NAME ${language}_binding COMMAND sh -c
    "echo 'SKIP ${language}: ${tool} not found; scripts/setup --bindings installs it'; exit ${code}")
  set_tests_properties(${language}_binding PROPERTIES LABELS bindings SKIP_RETURN_CODE 77)
endfunction()

# sage_conformance(LANGUAGE COMMAND...): runs a conformance runner; its transcript must be that of the C runner.
function(sage_conformance language)
  add_test(NAME conformance_${language} COMMAND "${CMAKE_COMMAND}" -E env "PKG_CONFIG_PATH=${CMAKE_BINARY_DIR}"
    "${Python3_EXECUTABLE}" "${CMAKE_SOURCE_DIR}/tests/bindings/compare_transcripts.py"
    "${CMAKE_BINARY_DIR}/vectors" "$<TARGET_FILE:hostile_wrong_major>" ${language} ${ARGN})
  set_tests_properties(conformance_${language} PROPERTIES LABELS bindings TIMEOUT 120 FIXTURES_REQUIRED conformance_c)
  list(JOIN ARGN "\", \"" command)
  set_property(GLOBAL APPEND_STRING PROPERTY SAGE_CONFORMANCE ",\n  \"${language}\": [\"${command}\"]")
endfunction()

# sage_calls(LANGUAGE COMMAND...): the language's program for bench/calls/run, which says what it prints. Built beforehand.
function(sage_calls language)
  list(JOIN ARGN "\", \"" command)
  set_property(GLOBAL APPEND_STRING PROPERTY SAGE_CALLS ",\n  \"${language}\": [\"${command}\"]")
endfunction()
