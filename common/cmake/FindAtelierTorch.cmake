# LibTorch as the target atelier_torch: Debian's libtorch-dev, or a newer one under
# CMAKE_PREFIX_PATH (PyPI's wheel: .../site-packages/torch). The wheel's own CMake config demands a
# CUDA toolkit, so the libraries are found here by name. With the wheel, libtorch_cuda is linked
# when it is there.

find_path(ATELIER_TORCH_INCLUDE torch/csrc/api/include/torch/torch.h
          PATH_SUFFIXES include REQUIRED)
find_library(ATELIER_TORCH_CPU torch_cpu PATH_SUFFIXES lib REQUIRED)
find_library(ATELIER_TORCH_C10 c10 PATH_SUFFIXES lib REQUIRED)
find_library(ATELIER_TORCH_CUDA torch_cuda PATH_SUFFIXES lib)
find_library(ATELIER_TORCH_C10_CUDA c10_cuda PATH_SUFFIXES lib)

add_library(atelier_torch INTERFACE)
target_include_directories(atelier_torch SYSTEM INTERFACE
  ${ATELIER_TORCH_INCLUDE} ${ATELIER_TORCH_INCLUDE}/torch/csrc/api/include)
target_link_libraries(atelier_torch INTERFACE ${ATELIER_TORCH_CPU} ${ATELIER_TORCH_C10})
if(ATELIER_TORCH_CUDA AND ATELIER_TORCH_C10_CUDA)
  # No symbol of libtorch_cuda is referenced: without the flag the linker drops it and no device is found.
  target_link_libraries(atelier_torch INTERFACE
    -Wl,--no-as-needed ${ATELIER_TORCH_CUDA} ${ATELIER_TORCH_C10_CUDA} -Wl,--as-needed)
endif()
# at::parallel_for is a template around "#pragma omp parallel": compiled without OpenMP it runs on one
# thread and says nothing. clang has no OpenMP of its own here (lint, fuzzing).
find_package(OpenMP COMPONENTS CXX)
if(OpenMP_CXX_FOUND)
  target_link_libraries(atelier_torch INTERFACE OpenMP::OpenMP_CXX)
else()
  message(WARNING "This compiler has no OpenMP: Atelier's own kernels will run on one thread")
endif()
set(AtelierTorch_FOUND TRUE)
