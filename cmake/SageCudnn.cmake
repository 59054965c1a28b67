# The plugin cudnn: is it built, and where does it look for cuDNN first when it runs. Nothing of cuDNN is needed to build
# it; a header that is found lets a test compare our numbers with its own.
#
#   SAGE_CUDNN=AUTO     built where the CUDA toolkit is (SageCuda.cmake); ON: it has to be; OFF: it is not
#   CUDNN_PATH          where cuDNN 9 is, by the variable or the environment, if not with the toolkit, where the loader
#                       looks, or in a Python package (nvidia-cudnn-cu13)
set(SAGE_CUDNN AUTO CACHE STRING "The plugin cudnn: AUTO (where there is a CUDA toolkit), ON, OFF")
set_property(CACHE SAGE_CUDNN PROPERTY STRINGS AUTO ON OFF)

set(SAGE_CUDNN_FOUND OFF)
set(SAGE_CUDNN_MISSING)
if(NOT SAGE_CUDNN STREQUAL "AUTO" AND NOT SAGE_CUDNN)
  set(SAGE_CUDNN_MISSING "SAGE_CUDNN is ${SAGE_CUDNN}")
elseif(NOT SAGE_CUDA_FOUND)
  set(SAGE_CUDNN_MISSING "it needs the CUDA toolkit, and ${SAGE_CUDA_MISSING}")
else()
  set(SAGE_CUDNN_FOUND ON)
endif()
if(NOT SAGE_CUDNN_FOUND)
  if(SAGE_CUDNN STREQUAL "ON")
    message(FATAL_ERROR "The plugin cudnn was asked for (SAGE_CUDNN=ON), but ${SAGE_CUDNN_MISSING}")
  endif()
  message(STATUS "The plugin cudnn is left out: ${SAGE_CUDNN_MISSING}")
endif()

# The folders of Python's packages hold nvidia/cudnn where pip has put it.
set(SAGE_CUDNN_HINTS)
foreach(place "${CUDNN_PATH}" "$ENV{CUDNN_PATH}")
  if(place)
    list(APPEND SAGE_CUDNN_HINTS "${place}")
  endif()
endforeach()
find_package(Python3 COMPONENTS Interpreter QUIET)
if(Python3_FOUND AND NOT CMAKE_CROSSCOMPILING)
  execute_process(COMMAND "${Python3_EXECUTABLE}" -c
    "import site, sysconfig; print(';'.join([sysconfig.get_path('purelib')] + site.getsitepackages()))"
    OUTPUT_VARIABLE packages OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  list(REMOVE_DUPLICATES packages)
  foreach(place IN LISTS packages)
    list(APPEND SAGE_CUDNN_HINTS "${place}/nvidia/cudnn")
  endforeach()
endif()
find_file(SAGE_CUDNN_LIBRARY libcudnn.so.9 HINTS ${SAGE_CUDNN_HINTS} ${CUDAToolkit_LIBRARY_DIR}
  PATHS /usr/local/cuda/lib64 /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE} /usr/lib64 PATH_SUFFIXES lib lib64
  DOC "cuDNN's library, where the plugin cudnn looks after the loader's own places")
find_path(SAGE_CUDNN_INCLUDE cudnn_graph.h HINTS ${SAGE_CUDNN_HINTS} ${CUDAToolkit_INCLUDE_DIRS}
  PATHS /usr/local/cuda/include PATH_SUFFIXES include DOC "cuDNN's headers, which only tests look at")
mark_as_advanced(SAGE_CUDNN_LIBRARY SAGE_CUDNN_INCLUDE)
if(SAGE_CUDNN_FOUND)
  if(SAGE_CUDNN_LIBRARY)
    message(STATUS "The plugin cudnn: it looks for cuDNN where the loader does, and for ${SAGE_CUDNN_LIBRARY}")
  else()
    message(STATUS "The plugin cudnn: no cuDNN here (CUDNN_PATH names another place); it looks for one when it runs")
  endif()
endif()
