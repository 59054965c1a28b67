# Is there a CUDA toolkit, and how are kernels compiled with it. Sets SAGE_CUDA_FOUND; where it is off, SAGE_CUDA_MISSING
# says why, in a sentence that is printed.
#
#   SAGE_CUDA=AUTO                 the plugin cuda is built where the toolkit is; ON: it has to be; OFF: it is not
#   SAGE_CUDA_ARCHITECTURES=80     of the files that run on every device, in CMake's words: 80 is machine code and PTX,
#                                  80-real the first, 80-virtual the second; "release": what packages have
#   SAGE_CUDA_HOPPER=90a-real      of the files with Hopper's own instructions; empty leaves them out
#   CUDAToolkit_ROOT               where the toolkit is, if not in PATH or /usr/local/cuda
set(SAGE_CUDA AUTO CACHE STRING "The plugin cuda: AUTO (where there is a toolkit), ON, OFF")
set_property(CACHE SAGE_CUDA PROPERTY STRINGS AUTO ON OFF)
set(SAGE_CUDA_ARCHITECTURES 80 CACHE STRING "Architectures of the CUDA kernels for every device, or release")
set(SAGE_CUDA_HOPPER 90a-real CACHE STRING "Architectures of the CUDA kernels for Hopper; empty: none")
set(SAGE_CUDA_OLDEST 13.0)

set(SAGE_CUDA_FOUND OFF)
set(SAGE_CUDA_MISSING)
if(SAGE_CUDA STREQUAL "AUTO" OR SAGE_CUDA)
  # CMake's own search for the compiler knows PATH only.
  find_program(SAGE_NVCC nvcc HINTS "${CUDAToolkit_ROOT}/bin" PATHS /usr/local/cuda/bin)
  mark_as_advanced(SAGE_NVCC)
  if(CMAKE_CROSSCOMPILING)
    set(SAGE_CUDA_MISSING "cross-compiling")
  elseif(NOT SAGE_NVCC AND NOT CMAKE_CUDA_COMPILER)
    set(SAGE_CUDA_MISSING "no nvcc in PATH or /usr/local/cuda (name another place in CUDAToolkit_ROOT)")
  else()
    set(CMAKE_CUDA_ARCHITECTURES OFF)  # each file has its own
    if(NOT DEFINED ENV{CUDACXX})
      set(ENV{CUDACXX} "${SAGE_NVCC}")
    endif()
    include(CheckLanguage)
    check_language(CUDA)
    if(NOT CMAKE_CUDA_COMPILER)
      set(SAGE_CUDA_MISSING "${SAGE_NVCC} does not compile here: see CMakeFiles/CMakeError.log")
      unset(CMAKE_CUDA_COMPILER CACHE)  # looked for again by the next configuration
    endif()
  endif()
  if(NOT SAGE_CUDA_MISSING)
    enable_language(CUDA)
    # nvcc has C++20 since CUDA 12; some CMakes up to 3.25 do not know how it is called.
    if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    find_package(CUDAToolkit QUIET)
    if(NOT TARGET CUDA::cudart_static)
      set(SAGE_CUDA_MISSING "the toolkit of ${CMAKE_CUDA_COMPILER} has no static runtime (libcudart_static.a)")
    elseif(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS SAGE_CUDA_OLDEST)
      set(SAGE_CUDA_MISSING "CUDA ${CMAKE_CUDA_COMPILER_VERSION} is too old, ${SAGE_CUDA_OLDEST} or newer is needed")
    else()
      set(SAGE_CUDA_FOUND ON)
    endif()
  endif()
else()
  set(SAGE_CUDA_MISSING "SAGE_CUDA is ${SAGE_CUDA}")
endif()
if(NOT SAGE_CUDA_FOUND)
  if(SAGE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "The plugin cuda was asked for (SAGE_CUDA=ON), but: ${SAGE_CUDA_MISSING}")
  endif()
  message(STATUS "The plugin cuda is left out: ${SAGE_CUDA_MISSING}")
  return()
endif()

set(SAGE_CUDA_PORTABLE_LIST "${SAGE_CUDA_ARCHITECTURES}")
if(SAGE_CUDA_ARCHITECTURES STREQUAL "release")
  # Machine code of the embedded ones (87, 110) is no other's, and they are aarch64 alone.
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
    set(SAGE_CUDA_PORTABLE_LIST 87-real 90-real 110-real 121)
  else()
    set(SAGE_CUDA_PORTABLE_LIST 80-real 90-real 100-real 120)
  endif()
endif()
message(STATUS "The plugin cuda: CUDA ${CMAKE_CUDA_COMPILER_VERSION}, code for ${SAGE_CUDA_PORTABLE_LIST} and Hopper's for ${SAGE_CUDA_HOPPER}")

set(SAGE_CUDA_RESOURCES "${CMAKE_CURRENT_LIST_DIR}/keep-ptxas-report")

# sage_cuda_gencode(OUT LIST...): nvcc's flags for architectures in CMake's words.
function(sage_cuda_gencode out)
  set(flags)
  foreach(architecture IN LISTS ARGN)
    if(NOT architecture MATCHES "^([0-9][0-9][0-9]?[af]?)(-real|-virtual)?$")
      message(FATAL_ERROR "'${architecture}' is no architecture; as in 80, 80-real, 120-virtual, 90a-real")
    endif()
    set(number "${CMAKE_MATCH_1}")
    if(CMAKE_MATCH_2 STREQUAL "-real")
      list(APPEND flags "-gencode=arch=compute_${number},code=sm_${number}")
    elseif(CMAKE_MATCH_2 STREQUAL "-virtual")
      list(APPEND flags "-gencode=arch=compute_${number},code=compute_${number}")
    else()
      list(APPEND flags "-gencode=arch=compute_${number},code=[compute_${number},sm_${number}]")
    endif()
  endforeach()
  # PTX without: 23 MB instead of a few.
  list(APPEND flags --compress-mode=size)
  list(LENGTH ARGN count)
  if(count GREATER 1)
    list(APPEND flags --threads=2)
  endif()
  set(${out} "${flags}" PARENT_SCOPE)
endfunction()

# sage_cuda_kernels(TARGET [HOT] ARCHITECTURES... SOURCES...): an object library of .cu files. What the assembler says of
# registers, shared memory and spills stays beside each object, for the budget test. HOT: a spill is a warning, and so an
# error where those are.
function(sage_cuda_kernels target)
  cmake_parse_arguments(K "HOT" "" "ARCHITECTURES;SOURCES" ${ARGN})
  set(spills)
  if(K_HOT)
    set(spills -Xptxas=--warn-on-spills $<$<BOOL:${SAGE_WERROR}>:-Xptxas=--warning-as-error>)
  endif()
  sage_cuda_gencode(gencode ${K_ARCHITECTURES})
  # No -Wpedantic: the host code that nvcc writes has line directives of GCC's own kind on every line.
  set(warnings ${SAGE_WARNING_FLAGS})
  list(REMOVE_ITEM warnings -Wpedantic)
  list(TRANSFORM warnings PREPEND -Xcompiler=)
  add_library(${target} OBJECT ${K_SOURCES})
  target_compile_options(${target} PRIVATE ${gencode} ${warnings}
    "-Xcompiler=-ffile-prefix-map=${CMAKE_SOURCE_DIR}=." -Xptxas=-v ${spills}
    $<$<BOOL:${SAGE_WERROR}>:-Xcompiler=-Werror> $<$<BOOL:${SAGE_WERROR}>:--Werror=all-warnings>)
  set(launcher "${SAGE_CUDA_RESOURCES}")
  if(CCACHE_PROGRAM)
    list(APPEND launcher "${CCACHE_PROGRAM}")
  endif()
  set_target_properties(${target} PROPERTIES CUDA_STANDARD 20 CUDA_EXTENSIONS OFF CUDA_RUNTIME_LIBRARY Static CUDA_VISIBILITY_PRESET hidden
    CUDA_COMPILER_LAUNCHER "${launcher}")
  target_link_libraries(${target} PRIVATE sage_abi)
  target_include_directories(${target} PRIVATE "${CMAKE_SOURCE_DIR}/plugins" "${CMAKE_CURRENT_SOURCE_DIR}")
endfunction()
