# `cmake --install`: the library and its headers, for find_package(weft) and for pkg-config; the program if it is built.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS weft EXPORT weft_targets
  FILE_SET core_headers DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILE_SET nn_headers DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(weft_program)
  install(TARGETS weft_program)
  if(BUILD_SHARED_LIBS AND NOT IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})  # the program finds the library, wherever both are moved
    file(RELATIVE_PATH weft_rpath /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR})
    set_target_properties(weft_program PROPERTIES INSTALL_RPATH "$ORIGIN/${weft_rpath}")
  elseif(BUILD_SHARED_LIBS)
    set_target_properties(weft_program PROPERTIES INSTALL_RPATH ${CMAKE_INSTALL_FULL_LIBDIR})
  endif()
endif()
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# A static library's own libraries belong to every link; a shared one carries them.
set(weft_pc_libs "")
set(weft_needs_cuda OFF)
if(NOT BUILD_SHARED_LIBS)
  set(weft_pc_libs "${weft_private_libs}")
  set(weft_needs_cuda ${weft_cuda})
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/weft)
install(EXPORT weft_targets NAMESPACE weft:: FILE weft-targets.cmake DESTINATION ${package_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/weft-config.cmake.in ${PROJECT_BINARY_DIR}/weft-config.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/weft-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/weft-config.cmake ${PROJECT_BINARY_DIR}/weft-config-version.cmake
  DESTINATION ${package_dir})

# weft.pc finds its prefix from where it lies, so that an installed tree can be moved, unless folders are absolute.
file(RELATIVE_PATH weft_pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
set(weft_pc_prefix "\${pcfiledir}/${weft_pc_prefix}")
set(weft_pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
set(weft_pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR} OR IS_ABSOLUTE ${CMAKE_INSTALL_INCLUDEDIR})
  set(weft_pc_prefix ${CMAKE_INSTALL_PREFIX})
  set(weft_pc_libdir ${CMAKE_INSTALL_FULL_LIBDIR})
  set(weft_pc_includedir ${CMAKE_INSTALL_FULL_INCLUDEDIR})
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/weft.pc.in ${PROJECT_BINARY_DIR}/weft.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/weft.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
