namespace FlashSale.UnitTests;

/// <summary>
/// Tests that measure the memory of the whole process. They run alone, because the memory of other tests would count
/// too.
/// </summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public static class Alone
{
    public const string Name = "alone";
}
