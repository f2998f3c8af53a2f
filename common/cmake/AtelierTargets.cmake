# One function per kind of target.
#
#   atelier_library(NAME SOURCES ... DEPS ... [TORCH])       static library, alias atelier::NAME
#   atelier_binary(NAME SOURCES ... DEPS ... [TORCH])        build/bin/NAME
#   atelier_test(NAME SOURCES ... DEPS ... LABELS ... [TORCH] [TIMEOUT s])   gtest binary + ctest
#   atelier_proto_library(NAME PROTOS ... [GRPC] DEPS ...)   generated code, no warnings
#
# TORCH: uses the shared precompiled header torch/torch.h (a translation unit costs ~20 s without).
# Tests that link no LibTorch share a precompiled GoogleTest and Abseil status; with -O1 for the tests' own code
# that halves what they cost.

include(GNUInstallDirs)

set(ATELIER_WARNINGS
  -Wall -Wextra -Wconversion -Wno-sign-conversion -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  # GCC 12 sees overlaps in std::string that are not there (GCC bug 105651); clang knows no such warning.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # GCC 14 sees std::vector<bool>::reserve leave its array where LibTorch's Function::apply is inlined.
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_GREATER_EQUAL:$<CXX_COMPILER_VERSION>,14>>:-Wno-array-bounds>
  -Werror)
if(ATELIER_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC documents false ones under sanitizers (here: in std::regex).
  list(APPEND ATELIER_WARNINGS -Wno-maybe-uninitialized)
endif()

function(_atelier_common target)
  cmake_parse_arguments(ARG "TORCH" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  target_compile_options(${target} PRIVATE ${ATELIER_WARNINGS})
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${target} PUBLIC ${ARG_DEPS})
  if(ARG_TORCH)
    target_link_libraries(${target} PUBLIC atelier_torch)
    # The same again, by another name.
    target_compile_options(${target} PRIVATE
      $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_GREATER_EQUAL:$<CXX_COMPILER_VERSION>,14>>:-Wno-stringop-overflow>)
    _atelier_reuse_pch(${target} atelier_torch_pch)
  endif()
endfunction()

# Compiles `target` with the precompiled header of `pch`, and with the flags that it was made with.
function(_atelier_reuse_pch target pch)
  # gRPC's targets bring -pthread, newer Abseil's NOMINMAX (for Windows' headers); the precompiled header must have
  # been made with the same macros.
  target_compile_options(${target} PRIVATE -pthread)
  if(absl_VERSION VERSION_GREATER_EQUAL 20230125)
    target_compile_definitions(${target} PRIVATE NOMINMAX)
  endif()
  # The precompiled header is made with -fPIC; an executable's -fPIE would not take it.
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "EXECUTABLE")
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
  if(NOT target STREQUAL pch)
    target_precompile_headers(${target} REUSE_FROM ${pch})
  endif()
endfunction()

# The precompiled torch header; made once, reused by every TORCH target (same flags everywhere).
function(atelier_torch_pch)
  add_library(atelier_torch_pch STATIC ${CMAKE_SOURCE_DIR}/common/cmake/pch.cc)
  _atelier_common(atelier_torch_pch TORCH)
  target_precompile_headers(atelier_torch_pch PRIVATE <torch/torch.h>)
endfunction()

# The precompiled header of tests without TORCH: what nearly all of them include by themselves.
function(atelier_test_pch)
  add_library(atelier_test_pch STATIC ${CMAKE_SOURCE_DIR}/common/cmake/pch.cc)
  _atelier_common(atelier_test_pch DEPS GTest::gmock GTest::gtest absl::statusor absl::strings)
  target_compile_options(atelier_test_pch PRIVATE $<$<CONFIG:Release>:-O1>)
  _atelier_reuse_pch(atelier_test_pch atelier_test_pch)
  target_precompile_headers(atelier_test_pch PRIVATE
    <gmock/gmock.h> <gtest/gtest.h> <absl/status/statusor.h> <absl/strings/str_cat.h>)
endfunction()

function(atelier_library name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;DEPS" ${ARGN})
  if(NOT ARG_SOURCES)
    add_library(atelier_${name} INTERFACE)
    target_include_directories(atelier_${name} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(atelier_${name} INTERFACE ${ARG_DEPS})
  else()
    add_library(atelier_${name} STATIC ${ARG_SOURCES})
    _atelier_common(atelier_${name} ${ARGN})
  endif()
  add_library(atelier::${name} ALIAS atelier_${name})
endfunction()

function(atelier_binary name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  _atelier_common(${name} ${ARGN})
endfunction()

# Whether `target` links `what` (gRPC::grpc, atelier_torch), directly or through others.
function(_atelier_links target what result)
  set(${result} FALSE PARENT_SCOPE)
  if(target MATCHES "^${what}")
    set(${result} TRUE PARENT_SCOPE)
    return()
  endif()
  if(NOT TARGET ${target})
    return()
  endif()
  get_target_property(aliased ${target} ALIASED_TARGET)
  if(aliased)
    set(target ${aliased})
  endif()
  get_property(known GLOBAL PROPERTY atelier_links_${what}_${target})
  if("${known}" STREQUAL "")  # not yet asked; NO is an answer
    set(known NO)
    get_target_property(deps ${target} INTERFACE_LINK_LIBRARIES)
    if(deps)
      list(FILTER deps EXCLUDE REGEX "[<>$]")
      foreach(dep IN LISTS deps)
        _atelier_links(${dep} ${what} found)
        if(found)
          set(known YES)
        endif()
      endforeach()
    endif()
    set_property(GLOBAL PROPERTY atelier_links_${what}_${target} ${known})
  endif()
  if(known STREQUAL "YES")
    set(${result} TRUE PARENT_SCOPE)
  endif()
endfunction()

function(_atelier_any_links what result)
  set(${result} FALSE PARENT_SCOPE)
  foreach(target IN LISTS ARGN)
    _atelier_links(${target} ${what} found)
    if(found)
      set(${result} TRUE PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

# All tests that this configuration has, without the services.
add_custom_target(atelier_tests)

function(atelier_test name)
  cmake_parse_arguments(ARG "TORCH" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(ATELIER_SANITIZE)
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 10")
  endif()
  add_executable(${name} ${ARG_SOURCES})
  _atelier_common(${name} ${ARGN})
  # GCC 13 takes a precompiled header only with the optimisation that it was made with.
  if(NOT (ARG_TORCH AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 13))
    target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  endif()
  # With -O1 GCC 12 also sees overflows in std::string that are not there (bug 105651 again).
  target_compile_options(${name} PRIVATE
    $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds>
    $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow>)
  # LibTorch brings OpenMP's macro, which the tests' precompiled header was made without.
  _atelier_any_links(atelier_torch links_torch ${ARG_DEPS})
  if(NOT ARG_TORCH AND NOT links_torch)
    _atelier_reuse_pch(${name} atelier_test_pch)
  endif()
  if(ATELIER_SANITIZE MATCHES "thread")
    # ThreadSanitizer knows nothing of what an uninstrumented gRPC synchronises.
    _atelier_any_links(gRPC::grpc links_grpc ${ARG_DEPS})
    if(links_grpc)
      set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL TRUE)
      message(STATUS "tsan: without ${name}, it links gRPC")
      return()
    endif()
  endif()
  add_dependencies(atelier_tests ${name})
  target_link_libraries(${name} PRIVATE GTest::gmock GTest::gtest GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES
    LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
    # libgomp's spinning threads make two training processes on two cores 10-50 times slower.
    ENVIRONMENT "GOMP_SPINCOUNT=1000;ATELIER_SOURCE_DIR=${CMAKE_SOURCE_DIR};ATELIER_BIN_DIR=${CMAKE_BINARY_DIR}/bin")
endfunction()

# Generates the code of all protos without compiling it: enough for clang-tidy.
add_custom_target(atelier_generated)

# PROTOS are relative to ${CMAKE_SOURCE_DIR}/protos and are included as "atelier/v1/x.pb.h".
function(atelier_proto_library name)
  cmake_parse_arguments(ARG "GRPC" "" "PROTOS;DEPS" ${ARGN})
  set(out ${CMAKE_BINARY_DIR}/protos)
  file(MAKE_DIRECTORY ${out})
  set(generated)
  foreach(proto IN LISTS ARG_PROTOS)
    string(REGEX REPLACE "\\.proto$" "" stem ${proto})
    if(ARG_GRPC)
      set(files ${out}/${stem}.grpc.pb.cc ${out}/${stem}.grpc.pb.h)
      set(args --grpc_out=${out} --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>)
    else()
      set(files ${out}/${stem}.pb.cc ${out}/${stem}.pb.h)
      set(args --cpp_out=${out})
    endif()
    add_custom_command(
      OUTPUT ${files}
      COMMAND protobuf::protoc -I${CMAKE_SOURCE_DIR}/protos ${args} ${proto}
      DEPENDS ${CMAKE_SOURCE_DIR}/protos/${proto}
      COMMENT "Generating ${stem}")
    list(APPEND generated ${files})
  endforeach()
  add_custom_target(atelier_${name}_generated DEPENDS ${generated})
  add_dependencies(atelier_generated atelier_${name}_generated)
  add_library(atelier_${name} STATIC ${generated})
  target_include_directories(atelier_${name} SYSTEM PUBLIC ${out})
  target_link_libraries(atelier_${name} PUBLIC ${ARG_DEPS})
  add_library(atelier::${name} ALIAS atelier_${name})
endfunction()
