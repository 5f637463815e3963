# One static library per room, linked with only the rooms it names. A backend's
# include path lacks the service, so the compiler refuses its headers there. The
# rooms of the service share one include folder: who may include whom among them
# is tests/scripts/check_includes.py's to refuse.
#
#   mneme_room(mneme_base
#     SOURCES      arena.c map.c
#     INCLUDES     ${CMAKE_CURRENT_SOURCE_DIR}    # what users of the room see
#     PUBLIC_DEPS  mneme_sdk                      # seen through its headers
#     PRIVATE_DEPS unistring)
#
#   mneme_fuzz(fuzz_filter SOURCES fuzz_filter.c DEPS mneme_search)
#     a libFuzzer program build/fuzz/fuzz_filter, only when MNEME_FUZZ is on;
#     the seeds are tests/fuzz/corpus/fuzz_filter/*
#
# Cache variables:
#   MNEME_SANITIZE  e.g. address,undefined or thread; empty for none
#   MNEME_FUZZ      ON: clang with coverage for libFuzzer, address and undefined

include_guard(GLOBAL)

set(MNEME_SANITIZE "" CACHE STRING "Value of -fsanitize= for every target")
option(MNEME_FUZZ "Build the fuzz targets (needs clang)" OFF)

set(MNEME_WARNINGS
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
  -Werror=implicit -Werror=incompatible-pointer-types -Werror=return-type)

# Sanitizers need every object, generated ones too, so these are set for all
# targets of the tree that includes this file.
set(_mneme_sanitize "${MNEME_SANITIZE}")
if(MNEME_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "MNEME_FUZZ needs clang: set CMAKE_C_COMPILER")
  endif()
  if(NOT _mneme_sanitize)
    set(_mneme_sanitize "address,undefined")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_custom_target(mneme_fuzzers) # all of them, and nothing else
endif()
if(_mneme_sanitize)
  add_compile_options(-fsanitize=${_mneme_sanitize} -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${_mneme_sanitize})
endif()

# The flags of our own C, for a target made without mneme_room: a program, a
# plugin, a test.
function(mneme_target_flags target)
  set_target_properties(${target} PROPERTIES C_STANDARD 11 C_STANDARD_REQUIRED ON)
  set_target_properties(${target} PROPERTIES
    C_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
  target_compile_options(${target} PRIVATE ${MNEME_WARNINGS})
endfunction()

function(mneme_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;INCLUDES;PUBLIC_DEPS;PRIVATE_DEPS"
    ${ARGN})
  if(ROOM_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR
      "mneme_room(${name}): what is ${ROOM_UNPARSED_ARGUMENTS}?")
  endif()
  if(NOT ROOM_SOURCES) # headers only
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${ROOM_INCLUDES})
    target_link_libraries(${name} INTERFACE ${ROOM_PUBLIC_DEPS})
    return()
  endif()
  add_library(${name} STATIC ${ROOM_SOURCES})
  target_include_directories(${name} PUBLIC ${ROOM_INCLUDES})
  target_link_libraries(${name}
    PUBLIC ${ROOM_PUBLIC_DEPS} PRIVATE ${ROOM_PRIVATE_DEPS})
  mneme_target_flags(${name})
endfunction()

function(mneme_fuzz name)
  if(NOT MNEME_FUZZ)
    return()
  endif()
  cmake_parse_arguments(FUZZ "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${FUZZ_SOURCES})
  target_link_libraries(${name} PRIVATE ${FUZZ_DEPS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  mneme_target_flags(${name})
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  add_dependencies(mneme_fuzzers ${name})
endfunction()
