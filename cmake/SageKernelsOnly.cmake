# The part of the tree that needs no library built for the target: the ABI's support code, the cpu and int8 backends, the
# oracle, the conformance kit and the tests of these. For cross-compiling to a system whose libraries are not at hand.
#
# The project's top level ends after including this. The packages still needed are headers alone, the same for
# every processor, so they are taken from wherever the compiler or CMAKE_INCLUDE_PATH has them.
include(CheckIncludeFileCXX)

# sage_header_package(TARGET HEADER [DEFINITION...]): an interface target for a package of headers.
function(sage_header_package target header)
  string(MAKE_C_IDENTIFIER "SAGE_HAVE_${header}" found)
  list(JOIN CMAKE_INCLUDE_PATH " -I" include)
  if(include)
    set(CMAKE_REQUIRED_FLAGS "-I${include}")
  endif()
  set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)  # only compiled: there is nothing to link it with
  check_include_file_cxx(${header} ${found} "-std=c++20")
  if(NOT ${found})
    message(FATAL_ERROR "${CMAKE_CXX_COMPILER} does not find <${header}>; name its folder in CMAKE_INCLUDE_PATH")
  endif()
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_compile_definitions(${target} INTERFACE ${ARGN})
  target_include_directories(${target} INTERFACE ${CMAKE_INCLUDE_PATH})
endfunction()

sage_header_package(fmt::fmt-header-only fmt/format.h FMT_HEADER_ONLY=1)

add_subdirectory(abi)
add_subdirectory(plugins/common)
add_subdirectory(plugins/reference)
add_subdirectory(plugins/cpu)
add_subdirectory(plugins/int8)
add_subdirectory(engine/plan)
add_subdirectory(conformance)
if(SAGE_BUILD_TESTS)
  enable_testing()
  sage_header_package(doctest::doctest doctest/doctest.h)
  sage_header_package(nlohmann_json::nlohmann_json nlohmann/json.hpp)
  add_subdirectory(tests)
endif()
