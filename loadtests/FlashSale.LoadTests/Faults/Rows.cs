using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Faults;

/// <summary>
/// Lists all rows. The classes that create them describe them: <see cref="ProcessFaults"/>, <see cref="NetworkFaults"/>
/// and so on.
/// </summary>
public static class Rows
{
    public static IReadOnlyList<Row> All { get; } =
    [
        .. ProcessFaults.Rows,
        .. NetworkFaults.Rows,
        .. BrokerFaults.Rows,
        .. RedisFaults.Rows,
        .. DiskFaults.Rows,
        .. PostgresFaults.Rows,
        .. HostFaults.Rows,
    ];

    /// <summary>Returns the rows of the given names, in that order.</summary>
    /// <exception cref="UsageException">No row has that name.</exception>
    public static IReadOnlyList<Row> Named(IEnumerable<string> names) =>
        [.. names.Select(name => All.FirstOrDefault(row => row.Name == name) ?? throw new UsageException($"{name}: there is no such row; --list shows them"))];
}
