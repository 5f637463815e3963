# From the .proto files to C and to descriptor sets.
#
#   proto/mneme/v1/*.proto --derive--> gen/proto/mneme/v1/*.proto   C only
#            |                                   |
#            |       service/transport/proto/**  |  google/protobuf/*
#            |                  \                v        /
#            |                   `------ protoc-gen-c ---'
#            v                                   |
#     mneme.protoset                     gen/pb/**.pb-c.[ch] --> mneme_pb
#     gen/descriptors/mneme_descriptor_set.[ch] --> mneme_descriptors
#
# Targets:
#   mneme_pb           the generated C; only service/wire links it
#   mneme_descriptors  #include "mneme_descriptor_set.h": the embedded
#                      FileDescriptorSet that server reflection answers from
#   mneme_protoset     build/*/mneme.protoset, with comments, for users

include_guard(GLOBAL)

find_program(MNEME_PROTOC protoc REQUIRED)
find_program(MNEME_PROTOC_GEN_C protoc-gen-c REQUIRED)
find_program(MNEME_PYTHON python3 REQUIRED)
find_path(MNEME_WKT_DIR google/protobuf/any.proto REQUIRED
  DOC "Where libprotobuf-dev puts the well-known .proto files")
find_library(MNEME_PROTOBUF_C protobuf-c REQUIRED)
find_path(MNEME_PROTOBUF_C_INCLUDE protobuf-c/protobuf-c.h REQUIRED)

set(_public_root ${PROJECT_SOURCE_DIR}/proto)
set(_server_root ${PROJECT_SOURCE_DIR}/service/transport/proto)
set(_tools ${PROJECT_SOURCE_DIR}/tools)
set(_gen ${CMAKE_BINARY_DIR}/gen)

file(GLOB _public CONFIGURE_DEPENDS RELATIVE ${_public_root}
  ${_public_root}/mneme/v1/*.proto)
file(GLOB_RECURSE _server CONFIGURE_DEPENDS RELATIVE ${_server_root}
  ${_server_root}/*.proto)
set(_wkt google/protobuf/any.proto google/protobuf/duration.proto
  google/protobuf/field_mask.proto google/protobuf/struct.proto
  google/protobuf/timestamp.proto)
if(NOT _public)
  message(FATAL_ERROR "no .proto files in ${_public_root}/mneme/v1")
endif()
list(TRANSFORM _public PREPEND ${_public_root}/ OUTPUT_VARIABLE _public_files)
list(TRANSFORM _server PREPEND ${_server_root}/ OUTPUT_VARIABLE _server_files)

# The C-only copies, and the C made of them. One command makes all: the files
# import each other, and protoc takes a tenth of a second for the lot.
list(TRANSFORM _public PREPEND ${_gen}/proto/ OUTPUT_VARIABLE _derived)
add_custom_command(OUTPUT ${_derived}
  COMMAND ${MNEME_PYTHON} ${_tools}/derive_c_proto.py
    --root ${_public_root} --out ${_gen}/proto ${_public}
  DEPENDS ${_tools}/derive_c_proto.py ${_public_files}
  COMMENT "Deriving the C-only .proto files" VERBATIM)

set(_pb_sources)
set(_pb_headers)
foreach(_file ${_public} ${_server} ${_wkt})
  string(REGEX REPLACE "\\.proto$" ".pb-c" _stem ${_gen}/pb/${_file})
  list(APPEND _pb_sources ${_stem}.c)
  list(APPEND _pb_headers ${_stem}.h)
endforeach()
add_custom_command(OUTPUT ${_pb_sources} ${_pb_headers}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${_gen}/pb
  COMMAND ${MNEME_PROTOC} -I ${_gen}/proto -I ${_server_root}
    -I ${MNEME_WKT_DIR} --plugin=protoc-gen-c=${MNEME_PROTOC_GEN_C}
    --c_out=${_gen}/pb ${_public} ${_server} ${_wkt}
  DEPENDS ${_derived} ${_server_files}
  COMMENT "Generating C from the .proto files" VERBATIM)
add_library(mneme_pb STATIC ${_pb_sources})
target_include_directories(mneme_pb SYSTEM PUBLIC
  ${_gen}/pb ${MNEME_PROTOBUF_C_INCLUDE})
target_link_libraries(mneme_pb PUBLIC ${MNEME_PROTOBUF_C})
target_compile_options(mneme_pb PRIVATE -w)
set_target_properties(mneme_pb PROPERTIES POSITION_INDEPENDENT_CODE ON)

# What users feed to grpcurl -protoset and to code generators.
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/mneme.protoset
  COMMAND ${MNEME_PROTOC} -I ${_public_root} -I ${MNEME_WKT_DIR}
    --include_imports --include_source_info
    --descriptor_set_out=${CMAKE_BINARY_DIR}/mneme.protoset ${_public}
  DEPENDS ${_public_files}
  COMMENT "Writing mneme.protoset" VERBATIM)
add_custom_target(mneme_protoset ALL DEPENDS ${CMAKE_BINARY_DIR}/mneme.protoset)

# The derived copies as a descriptor set, for the test that compares the two.
add_custom_command(OUTPUT ${_gen}/mneme_c.protoset
  COMMAND ${MNEME_PROTOC} -I ${_gen}/proto -I ${MNEME_WKT_DIR}
    --include_imports --descriptor_set_out=${_gen}/mneme_c.protoset ${_public}
  DEPENDS ${_derived}
  COMMENT "Writing the descriptor set of the C-only files" VERBATIM)
add_custom_target(mneme_c_protoset ALL DEPENDS ${_gen}/mneme_c.protoset)

# What server reflection serves: our API, health, reflection itself, and google.rpc,
# so that grpcurl can print the details of an error.
set(_reflected ${_server})
add_custom_command(OUTPUT ${_gen}/reflected.protoset
  COMMAND ${MNEME_PROTOC} -I ${_public_root} -I ${_server_root}
    -I ${MNEME_WKT_DIR} --include_imports
    --descriptor_set_out=${_gen}/reflected.protoset ${_public} ${_reflected}
  DEPENDS ${_public_files} ${_server_files}
  COMMENT "Writing the descriptor set for reflection" VERBATIM)
add_custom_command(
  OUTPUT ${_gen}/descriptors/mneme_descriptor_set.c
         ${_gen}/descriptors/mneme_descriptor_set.h
  COMMAND ${MNEME_PYTHON} ${_tools}/embed_bytes.py ${_gen}/reflected.protoset
    mneme_descriptor_set ${_gen}/descriptors
  DEPENDS ${_gen}/reflected.protoset ${_tools}/embed_bytes.py
  COMMENT "Embedding the descriptor set" VERBATIM)
add_library(mneme_descriptors STATIC
  ${_gen}/descriptors/mneme_descriptor_set.c
  ${_gen}/descriptors/mneme_descriptor_set.h)
target_include_directories(mneme_descriptors PUBLIC ${_gen}/descriptors)
set_target_properties(mneme_descriptors PROPERTIES POSITION_INDEPENDENT_CODE ON)
