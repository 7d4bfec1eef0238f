using System.Diagnostics;
using System.Net;
using System.Text;
using FlashSale.Admission;
using FlashSale.Contracts;
using FsCheck;
using FsCheck.Fluent;

namespace FlashSale.UnitTests.Admission;

/// <summary>Compares a node's blocklist with a model made of a dictionary and the framework's own networks.</summary>
[Collection(Alone.Name)]
public sealed class BlocklistTests(ITestOutputHelper output)
{
    private const int Million = 1_000_000;

    private static readonly BlockedSubject[] Subjects =
    [
        .. Enumerable.Range(0, 6).Select(i => Of(BlockedKind.User, $"u{i}")), .. Enumerable.Range(0, 4).Select(i => Of(BlockedKind.Client, $"c{i}")),
        .. Addresses().Select(address => Of(BlockedKind.Ip, address.ToString())),
        .. Addresses().SelectMany(Networks).Distinct().Select(network => Of(BlockedKind.Cidr, network)),
    ];

    [Fact]
    public void It_blocks_whom_a_model_blocks_through_additions_changes_removals_and_ends()
    {
        var step = from subject in Gen.Elements(Subjects)
                   from end in Gen.Frequency((3, Gen.Constant(0)), (3, Gen.Constant(int.MaxValue)), (4, Gen.Choose(1, 60)))
                   select (subject, end);
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(300), Prop.ForAll(Gen.Choose(1, 250).SelectMany(n => Gen.ListOf(step, n)).ToArbitrary(), steps =>
        {
            var (list, model, now) = (new Blocklist(), new Dictionary<BlockedSubject, long>(), 1_000L);
            foreach (var (subject, end) in steps)
            {
                var until = end switch { 0 => 0, int.MaxValue => BlockChange.NoEnd, _ => now + end };
                list.Apply(new BlockChange(subject.Key, until), now);
                model[subject] = until;
                AssertAgree(list, model, now += 3);
            }
        }));
    }

    [Fact]
    public void A_model_that_forgets_removals_does_not_agree()
    {
        var (list, model) = (new Blocklist(), new Dictionary<BlockedSubject, long>());
        var user = Of(BlockedKind.User, "u0");
        foreach (var end in (long[])[BlockChange.NoEnd, 0]) list.Apply(new BlockChange(user.Key, end), 1);
        model[user] = BlockChange.NoEnd;
        Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => AssertAgree(list, model, 2));
    }

    [Fact]
    public void An_end_is_kept_to_the_millisecond_and_what_ended_makes_room()
    {
        var list = new Blocklist();
        for (var i = 0; i < 100_000; i++) list.Apply(new BlockChange(new(BlockSpace.User, 0, 0, (ulong)i + 1), 1_000), 999);
        Assert.True(list.Blocks(7, 0, null, 999));
        Assert.False(list.Blocks(7, 0, null, 1_000));
        for (var i = 0; i < 100_000; i++) list.Apply(new BlockChange(new(BlockSpace.User, 0, 1, (ulong)i), BlockChange.NoEnd), 1_000);
        Assert.Equal(100_000, list.Count);
    }

    [Fact]
    public async Task Who_reads_while_changes_come_in_finds_the_blocked_blocked_and_nobody_else()
    {
        const int Standing = 1_000, Changes = 400_000;
        var list = new Blocklist();
        for (var i = 1; i <= Standing; i++) list.Apply(new BlockChange(new(BlockSpace.User, 0, 0, (ulong)i), BlockChange.NoEnd), 0);
        var over = false;
        var readers = Enumerable.Range(0, 2).Select(_ => Task.Run(() =>
        {
            var wrong = 0;
            for (var i = 0ul; !Volatile.Read(ref over); i = (i + 1) % Standing)
            {
                if (!list.Blocks(i + 1, 0, null, 1)) wrong++;
                if (list.Blocks(i + 1 + (1ul << 40), 0, null, 1)) wrong++;
            }
            return wrong;
        })).ToArray();
        // The table grows many times, entries come and go, and some of the standing entries are written again.
        for (var i = 0; i < Changes; i++)
        {
            list.Apply(new BlockChange(new(BlockSpace.User, 0, 0, (ulong)i + (1ul << 50)), i % 3 == 0 ? 2 : BlockChange.NoEnd), i % 5);
            if (i % 4 == 0) list.Apply(new BlockChange(new(BlockSpace.User, 0, 0, (ulong)(i / 2) + (1ul << 50)), 0), 0);
            if (i % 7 == 0) list.Apply(new BlockChange(new(BlockSpace.User, 0, 0, (ulong)(i % Standing) + 1), BlockChange.NoEnd), 0);
        }
        Volatile.Write(ref over, true);
        Assert.All(await Task.WhenAll(readers), wrong => Assert.Equal(0, wrong));
    }

    [Fact]
    public void A_million_entries_take_less_than_64_bytes_each_and_a_look_allocates_nothing()
    {
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var list = new Blocklist();
        var clock = Stopwatch.StartNew();
        for (var i = 0; i < Million; i++)
        {
            // 9 of 10 entries are users. The rest are addresses of both families and networks of five lengths.
            var key = (i % 10, i % 4) switch
            {
                (0, 0) => new BlockKey(BlockSpace.Ip4, 0, 0, (uint)i),
                (0, 1) => new BlockKey(BlockSpace.Ip6, 0, 0x20010DB8_00000000, (ulong)i),
                (0, _) => new BlockKey(BlockSpace.Ip4, 0, 0, (uint)i << 8).Masked(20 + i % 5),
                _ => new BlockKey(BlockSpace.User, 0, 0, (ulong)i * 0x9E3779B97F4A7C15),
            };
            list.Apply(new BlockChange(key, BlockChange.NoEnd), 1);
        }
        output.WriteLine($"{list.Count} entries applied in {clock.ElapsedMilliseconds} ms, the longest table grown on the way");
        var bytes = (GC.GetTotalMemory(forceFullCollection: true) - before) / (double)list.Count;
        output.WriteLine($"{bytes:0.0} bytes an entry");
        Assert.InRange(bytes, 16, 64);

        foreach (var (who, client, address) in ((string, ulong, IPAddress?)[])[("a user", 0, null), ("a user and a client", 7, null), ("a user, an IPv4 address and networks of five lengths", 0, IPAddress.Parse("203.0.113.7"))])
        {
            Look(list, client, address);
            var allocated = GC.GetAllocatedBytesForCurrentThread();
            clock.Restart();
            var cpu = Environment.CpuUsage.TotalTime;
            var blocked = Look(list, client, address);
            cpu = Environment.CpuUsage.TotalTime - cpu;
            clock.Stop();
            Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - allocated);
            Assert.Equal(0, blocked);
            output.WriteLine($"{clock.Elapsed.TotalNanoseconds / Million:0} ns, {cpu.TotalNanoseconds / Million:0} ns of processor time, for {who}");
        }
        GC.KeepAlive(list);
    }

    private static int Look(Blocklist list, ulong client, IPAddress? address)
    {
        var blocked = 0;
        for (var i = 0; i < Million; i++)
        {
            if (list.Blocks((ulong)i * 0xBF58476D1CE4E5B9 + 3, client, address, 2)) blocked++;
        }
        return blocked;
    }

    private static void AssertAgree(Blocklist list, Dictionary<BlockedSubject, long> model, long now)
    {
        var standing = model.Where(pair => pair.Value > now).Select(pair => pair.Key).ToArray();
        var users = standing.Where(subject => subject.Kind is BlockedKind.User).Select(subject => subject.Value).ToHashSet();
        var clients = standing.Where(subject => subject.Kind is BlockedKind.Client).Select(subject => subject.Value).ToHashSet();
        var addresses = standing.Where(subject => subject.Kind is BlockedKind.Ip).Select(subject => IPAddress.Parse(subject.Value)).ToHashSet();
        var networks = standing.Where(subject => subject.Kind is BlockedKind.Cidr).Select(subject => IPNetwork.Parse(subject.Value)).ToArray();
        for (var i = 0; i < 7; i++)
        {
            Assert.Equal(users.Contains($"u{i}"), list.Blocks(Fingerprints.OfUser($"u{i}"), 0, null, now));
            Assert.Equal(clients.Contains($"c{i}"), list.Blocks(1, Fingerprints.OfClient(Encoding.UTF8.GetBytes($"c{i}")), null, now));
        }
        foreach (var address in Addresses().Append(IPAddress.Parse("192.0.2.1")).Append(IPAddress.Parse("::a00:1")))
        {
            var expected = addresses.Contains(address) || networks.Any(network => network.BaseAddress.AddressFamily == address.AddressFamily && network.Contains(address));
            Assert.Equal(expected, list.Blocks(1, 0, address, now));
            Assert.Equal(expected, list.Blocks(1, 0, address.MapToIPv6(), now));
        }
    }

    private static IEnumerable<IPAddress> Addresses() =>
        ((string[])["10.0.0.1", "10.0.0.2", "10.0.1.1", "10.200.0.1", "255.255.255.255", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db8:8000::1", "::1"]).Select(IPAddress.Parse);

    private static IEnumerable<string> Networks(IPAddress address) =>
        (address.GetAddressBytes().Length == 4 ? (int[])[8, 9, 15, 23, 24, 30, 31, 32] : [19, 32, 33, 48, 63, 64, 65, 126, 127, 128])
        .Select(length => { var key = BlockKey.Of(address).Masked(length); return $"{key.ToAddress()}/{length}"; });

    private static BlockedSubject Of(BlockedKind kind, string value) =>
        BlockedSubject.TryRead(kind, value, out var subject, out var rule) ? subject : throw new InvalidOperationException($"{value} must be {rule}");
}
