// The program sluicectl: all of it is in the module of that name, which tests look at.
internal import sluicectl

runSluicectl()
