namespace FlashSale.UnitTests;

/// <summary>Tests of what the whole process holds: what others allocate beside them would count.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public static class Alone
{
    public const string Name = "alone";
}
