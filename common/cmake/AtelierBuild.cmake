# Language, output folders, compiler cache, linker, sanitizers.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

find_program(ATELIER_CCACHE ccache)
if(ATELIER_CCACHE)
  # The sloppiness is what ccache's manual asks for with precompiled headers; base_dir and
  # hash_dir let a fresh clone elsewhere hit the cache.
  set(_ccache ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${ATELIER_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${_ccache})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${_ccache})
endif()

find_program(ATELIER_MOLD mold)
if(ATELIER_MOLD)
  # mold 1.10 begins GNU_RELRO at an empty .tbss, for 7 of 4,096 lengths of .text in a page that is not
  # there ("cannot apply additional memory protection after relocation"), unless segments have pages
  # of their own.
  add_link_options(-fuse-ld=mold -Wl,-z,separate-loadable-segments)
endif()

set(ATELIER_SANITIZE "" CACHE STRING "address,undefined or thread; empty: none")
if(ATELIER_SANITIZE)
  add_compile_options(-fsanitize=${ATELIER_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${ATELIER_SANITIZE})
endif()
