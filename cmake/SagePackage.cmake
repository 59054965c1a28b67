# How the project is found and shipped: find_package(sage), pkg-config sage-engine, and CPack's components.
include(CMakePackageConfigHelpers)

set(SAGE_CMAKE_FOLDER "${CMAKE_INSTALL_LIBDIR}/cmake/sage")
set(SAGE_PLUGIN_FOLDER "${CMAKE_INSTALL_LIBDIR}/sage/plugins")
configure_package_config_file(cmake/package/sageConfig.cmake.in package/sageConfig.cmake
  INSTALL_DESTINATION "${SAGE_CMAKE_FOLDER}" PATH_VARS SAGE_PLUGIN_FOLDER)
write_basic_package_version_file("${CMAKE_BINARY_DIR}/package/sageConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_BINARY_DIR}/package/sageConfig.cmake" "${CMAKE_BINARY_DIR}/package/sageConfigVersion.cmake"
  DESTINATION "${SAGE_CMAKE_FOLDER}" COMPONENT libsage-dev)
install(EXPORT sageTargets NAMESPACE sage:: DESTINATION "${SAGE_CMAKE_FOLDER}" COMPONENT libsage-dev)

file(RELATIVE_PATH SAGE_PC_TO_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" SAGE_PC_TO_PREFIX "${SAGE_PC_TO_PREFIX}")
configure_file(cmake/package/sage-engine.pc.in package/sage-engine.pc @ONLY)
configure_file(cmake/package/sage-engine-uninstalled.pc.in "${CMAKE_BINARY_DIR}/sage-engine-uninstalled.pc" @ONLY)
install(FILES "${CMAKE_BINARY_DIR}/package/sage-engine.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
  COMPONENT libsage-dev)
