using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Faults;

/// <summary>All rows. What each does stands where it is made: <see cref="ProcessFaults"/>, <see cref="NetworkFaults"/> and so on.</summary>
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

    /// <summary>The rows of that name, in the order asked for.</summary>
    /// <exception cref="UsageException">There is none of that name.</exception>
    public static IReadOnlyList<Row> Named(IEnumerable<string> names) =>
        [.. names.Select(name => All.FirstOrDefault(row => row.Name == name) ?? throw new UsageException($"{name}: there is no such row; --list shows them"))];
}
