# How every room is built: warnings are errors, sections are collected, sanitizers by preset.

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

add_library(firn_options INTERFACE)
target_include_directories(firn_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(firn_options INTERFACE -Wall -Wextra -Wpedantic -Werror -Wshadow -Wnon-virtual-dtor -Wold-style-cast
  -ffunction-sections -fdata-sections)
# GCC 12 warns wrongly at "literal" + std::string when it optimises (GCC bug 105651).
target_compile_options(firn_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict$<SEMICOLON>-Wno-maybe-uninitialized>)
target_compile_definitions(firn_options INTERFACE FIRN_VERSION="${PROJECT_VERSION}")
target_link_options(firn_options INTERFACE -Wl,--gc-sections)
if(FIRN_SANITIZE)
  target_compile_options(firn_options INTERFACE -fsanitize=${FIRN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(firn_options INTERFACE -fsanitize=${FIRN_SANITIZE})
  if(FIRN_SANITIZE MATCHES thread AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # Asio has fences, which ThreadSanitizer does not follow; what they order in Asio is ordered by its locks as well.
    target_compile_options(firn_options INTERFACE -Wno-tsan)
  endif()
endif()
if(FIRN_FUZZ)
  target_compile_options(firn_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# firn_room(NAME SOURCES ... LINK ...): a static library of the sources in this folder. Without sources: headers only.
function(firn_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;LINK" ${ARGN})
  if(ROOM_SOURCES)
    add_library(${name} STATIC ${ROOM_SOURCES})
    target_link_libraries(${name} PUBLIC firn_options ${ROOM_LINK})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE firn_options ${ROOM_LINK})
  endif()
endfunction()

# firn_program(NAME SOURCES ... LINK ... [STATIC [ORDER file]]): a program in build/PRESET/bin. STATIC: no shared library at all, for
# programs that live for a millisecond (the dynamic loader would cost a third of that); left dynamic under sanitizers, which need
# it. ORDER: the functions to lay side by side (scripts/link-order), by lld, since GNU ld orders no functions of libraries.
function(firn_program name)
  cmake_parse_arguments(PROGRAM "STATIC" "ORDER" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${PROGRAM_SOURCES})
  target_link_libraries(${name} PRIVATE firn_options ${PROGRAM_LINK})
  if(PROGRAM_STATIC AND NOT FIRN_SANITIZE AND NOT FIRN_FUZZ)
    target_link_options(${name} PRIVATE -static)
    if(FIRN_STRIP AND CMAKE_BUILD_TYPE STREQUAL "Release")
      # They are a sixth of the file, and nobody debugs a process that has gone.
      target_link_options(${name} PRIVATE -s)
    endif()
    if(PROGRAM_ORDER)
      target_link_options(${name} PRIVATE -fuse-ld=lld -Wl,--symbol-ordering-file=${PROGRAM_ORDER} -Wl,--no-warn-symbol-ordering)
      set_target_properties(${name} PROPERTIES LINK_DEPENDS ${PROGRAM_ORDER})
    endif()
  endif()
endfunction()

# firn_test(NAME LABEL label SOURCES ... LINK ...): a GoogleTest program, run by ctest under that label.
function(firn_test name)
  cmake_parse_arguments(TEST "" "LABEL;TIMEOUT" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE firn_options ${TEST_LINK} GTest::gmock GTest::gtest_main Threads::Threads)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 120)
  endif()
  # `tests_LABEL` builds the programs of one label and nothing else.
  if(NOT TARGET tests_${TEST_LABEL})
    add_custom_target(tests_${TEST_LABEL})
  endif()
  add_dependencies(tests_${TEST_LABEL} ${name})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${TEST_LABEL}" TIMEOUT ${TEST_TIMEOUT})
endfunction()
