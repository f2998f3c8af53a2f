// Holds the precompiled torch header of AtelierTargets.cmake; nothing else.
