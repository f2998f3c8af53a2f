// The source file that the precompiled headers of AtelierTargets.cmake need; nothing else.
