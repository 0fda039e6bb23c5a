# Where things go on a host, and the .deb made from the same list (make install, make deb).
include(GNUInstallDirs)

# Podman looks in /usr/lib/cni by itself; for containerd and CRI-O set bin_dir or link into /opt/cni/bin (docs/cni.md).
install(TARGETS firn firn-ipam RUNTIME DESTINATION lib/cni COMPONENT firn)
install(TARGETS firnctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT firn)
install(TARGETS firn-routed RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT firn)
# Where firn-routed looks for it: ../libexec/firn from its own directory (routed/nft/child.cpp).
install(TARGETS firn-nft RUNTIME DESTINATION libexec/firn COMPONENT firn)
# The unit names the program by its full path, which only the install knows (--prefix). CPack installs below a directory of its own.
install(CODE "
  set(FIRN_SBINDIR \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_SBINDIR}\")
  if(CMAKE_INSTALL_PREFIX MATCHES \"/_CPack_Packages/\")
    set(FIRN_SBINDIR \"/usr/${CMAKE_INSTALL_SBINDIR}\")
  endif()
  configure_file(\"${CMAKE_SOURCE_DIR}/packaging/systemd/firn-routed.service.in\" \"${CMAKE_BINARY_DIR}/firn-routed.service\" @ONLY)
" COMPONENT firn)
install(FILES ${CMAKE_BINARY_DIR}/firn-routed.service DESTINATION lib/systemd/system COMPONENT firn)
install(FILES packaging/completion/firnctl.bash DESTINATION share/bash-completion/completions RENAME firnctl COMPONENT firn)
install(DIRECTORY packaging/cni/ DESTINATION share/doc/firn/cni COMPONENT firn)
install(DIRECTORY docs/ DESTINATION share/doc/firn COMPONENT firn FILES_MATCHING PATTERN "*.md")
install(FILES README.md CHANGELOG.md LICENSE DESTINATION share/doc/firn COMPONENT firn)
install(FILES routed/nft/firn_nft/LICENSE DESTINATION share/doc/firn RENAME LICENSE.firn-nft COMPONENT firn)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME firn)
set(CPACK_PACKAGE_CONTACT "firn maintainers <maintainers@firn.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "container network: routable addresses, announced over BGP")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL firn)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FIRN_PACKAGE_NAME firn)
set(CPACK_DEBIAN_FIRN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_FIRN_PACKAGE_RECOMMENDS "bird2")
set(CPACK_DEBIAN_FIRN_PACKAGE_SECTION net)
include(CPack)
