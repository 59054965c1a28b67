# For aarch64 (Jetson and its like) on another machine, by Debian's cross compiler (package g++-aarch64-linux-gnu); what
# was built runs here under qemu-user. See docs/aarch64.md.
#
# The emulated processor has ARMv8.0 and nothing more: an instruction that the oldest aarch64 lacks ends a test.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64;-cpu;cortex-a57;-L;/usr/aarch64-linux-gnu" CACHE STRING
  "How programs for aarch64 run on this machine")

# Libraries of this machine are not the target's.
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
