# What every target of the project shares: warnings, sanitizers, and the three kinds of target there are.

set(SAGE_CMAKE_DIR "${CMAKE_CURRENT_LIST_DIR}")
set(SAGE_WARNING_FLAGS -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 warns of std::string's own copies when it has inlined enough of them (its bug 105651).
  list(APPEND SAGE_WARNING_FLAGS -Wno-restrict)
endif()

function(sage_compile_options target)
  target_compile_options(${target} PRIVATE ${SAGE_WARNING_FLAGS} $<$<BOOL:${SAGE_WERROR}>:-Werror>
    -fno-math-errno -ffp-contract=off "-ffile-prefix-map=${CMAKE_SOURCE_DIR}=.")
  if(SAGE_SANITIZE)
    target_compile_options(${target} PRIVATE "-fsanitize=${SAGE_SANITIZE}" -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE "-fsanitize=${SAGE_SANITIZE}")
  endif()
endfunction()

# Of a target whose speed is nobody's concern: compiled in two thirds of the time.
function(sage_built_quickly target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()

# sage_plugin(NAME SOURCES...): a backend, dlopen'ed from lib/sage/plugins. Only its entry symbol is visible.
function(sage_plugin name)
  add_library(sage_plugin_${name} MODULE ${ARGN})
  set_target_properties(sage_plugin_${name} PROPERTIES
    PREFIX "libsage_" OUTPUT_NAME ${name} LIBRARY_OUTPUT_DIRECTORY "${SAGE_PLUGIN_OUTPUT_DIRECTORY}")
  target_link_libraries(sage_plugin_${name} PRIVATE sage_plugin_common)
  sage_compile_options(sage_plugin_${name})
  target_link_options(sage_plugin_${name} PRIVATE -Wl,-z,relro,-z,now -Wl,--exclude-libs,ALL
    "-Wl,--version-script=${CMAKE_CURRENT_FUNCTION_LIST_DIR}/plugin.map")
  if(NOT SAGE_SANITIZE)
    target_link_options(sage_plugin_${name} PRIVATE -Wl,-z,defs)
  endif()
  install(TARGETS sage_plugin_${name} LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}/sage/plugins"
    COMPONENT sage-plugin-${name})
endfunction()

# sage_test(NAME SOURCES a.cc b.cc [LIBRARIES ...] [LABELS ...] [DEFINITIONS ...] [SLOW_EMULATED ...]): a doctest
# program, each of whose cases is a CTest test of its own. LABELS default to "unit". Case names carry the checklist tags
# they prove. SLOW_EMULATED: regular expressions; cases that match one are labelled slow where an emulator runs them.
function(sage_test name)
  cmake_parse_arguments(T "" "" "SOURCES;LIBRARIES;LABELS;DEFINITIONS;SLOW_EMULATED" ${ARGN})
  if(NOT T_LABELS)
    set(T_LABELS unit)
  endif()
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE sage_test_main ${T_LIBRARIES})
  target_compile_definitions(${name} PRIVATE ${T_DEFINITIONS} SAGE_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
    SAGE_BINARY_DIR="${CMAKE_BINARY_DIR}")
  sage_compile_options(${name})
  if(NOT SAGE_OPTIMISED_TESTS)
    sage_built_quickly(${name})
  endif()
  set(cases "${CMAKE_CURRENT_BINARY_DIR}/${name}_cases.cmake")
  string(REPLACE ";" "$<SEMICOLON>" labels "${T_LABELS}")
  set(timeout 120)
  set(slow)
  if(SAGE_SANITIZE)
    set(timeout 600)  # some are twenty times slower
  endif()
  if(CMAKE_CROSSCOMPILING_EMULATOR)
    set(timeout 600)
    list(JOIN T_SLOW_EMULATED "|" slow)
  endif()
  string(REPLACE ";" "$<SEMICOLON>" emulator "${CMAKE_CROSSCOMPILING_EMULATOR}")
  add_custom_command(TARGET ${name} POST_BUILD BYPRODUCTS "${cases}" VERBATIM
    COMMAND ${CMAKE_COMMAND} "-DPROGRAM=$<TARGET_FILE:${name}>" "-DEMULATOR=${emulator}" "-DOUTPUT=${cases}"
            "-DPREFIX=${name}/" "-DLABELS=${labels}" "-DSLOW=${slow}" -DTIMEOUT=${timeout} -P "${SAGE_CMAKE_DIR}/AddDoctestCases.cmake")
  # A program that was not built is a test that fails, not one that is not there.
  set(include "${CMAKE_CURRENT_BINARY_DIR}/${name}_include.cmake")
  file(WRITE "${include}" "if(EXISTS [==[${cases}]==])\n  include([==[${cases}]==])\nelse()\n"
    "  add_test([==[${name}/not built]==] [==[${name}_not_built]==])\nendif()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${include}")
endfunction()
