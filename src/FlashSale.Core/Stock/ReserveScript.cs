using System.Buffers.Binary;
using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Stock;

/// <summary>The decision of reserve.lua about one purchase.</summary>
public enum ReserveCode : byte
{
    /// <summary>The units are reserved durably.</summary>
    Accepted = (byte)'A',

    /// <summary>The units are reserved durably, and nothing is left of the item.</summary>
    AcceptedLast = (byte)'Z',

    /// <summary>The key has made this purchase before. The decision carries its order.</summary>
    Replay = (byte)'R',

    /// <summary>The key has made another purchase before.</summary>
    KeyReused = (byte)'K',

    /// <summary>Redis does not know the sale or item, or a load of the sale is under way.</summary>
    NotLoaded = (byte)'N',

    /// <summary>Redis was restarted, and no worker has verified the sale since.</summary>
    NotVerified = (byte)'V',

    /// <summary>The sale was loaded again, so the caller's snapshot is out of date.</summary>
    OtherEpoch = (byte)'E',

    /// <summary>The caller's deadline has passed.</summary>
    TooLate = (byte)'D',

    /// <summary>The sale is paused.</summary>
    Paused = (byte)'P',

    /// <summary>The time is before opensAt.</summary>
    NotOpen = (byte)'O',

    /// <summary>The time is past closesAt, or the sale has ended.</summary>
    Closed = (byte)'C',

    /// <summary>The sale requires a ticket, and none came with the purchase.</summary>
    TicketMissing = (byte)'T',

    /// <summary>
    /// The ticket is malformed or was refused by the caller, has expired, is of another epoch, or has bought already.
    /// </summary>
    TicketInvalid = (byte)'I',

    /// <summary>The user would exceed a limit.</summary>
    LimitReached = (byte)'U',

    /// <summary>No unit of the item is left.</summary>
    SoldOut = (byte)'S',

    /// <summary>The item has units left, but fewer than asked for.</summary>
    FewerLeft = (byte)'F',

    /// <summary>
    /// Units came back after the item had none. They go on sale when no node can still answer "sold out" from memory.
    /// </summary>
    Resting = (byte)'B',
}

/// <summary>The decision of reserve.lua about one purchase, with its data.</summary>
/// <param name="Code">The decision.</param>
/// <param name="OrderId">For a replay, the id of the first order. Otherwise empty.</param>
/// <param name="AcceptedAt">
/// For an acceptance or a replay, Redis TIME of the acceptance in Unix milliseconds. Otherwise the time of the
/// decision.
/// </param>
/// <param name="RestsFor">
/// For <see cref="ReserveCode.Resting"/>, milliseconds until the units are for sale. Otherwise 0.
/// </param>
public readonly record struct ReserveDecision(ReserveCode Code, Guid OrderId, long AcceptedAt, int RestsFor = 0);

/// <summary>Calls reserve.lua.</summary>
public sealed class ReserveScript(RedisConnection redis)
{
    private const int HeadSize = 8 + 6;
    private const int ReplaySize = 16 + 6;

    private static readonly RedisScript Script = new("Sales.door.lua", "Stock.reserve.lua");

    private long _requests = Random.Shared.NextInt64();

    /// <summary>Decides purchases of one sale in one round trip, one after the other in their order.</summary>
    /// <param name="keys">The keys of the sale.</param>
    /// <param name="epoch">The epoch of the caller's snapshot of the sale.</param>
    /// <param name="notAfter">
    /// Redis TIME in Unix milliseconds after which the script must sell nothing, because the shoppers no longer wait.
    /// </param>
    /// <param name="purchases">One record of <see cref="Contracts.ReservationCodec"/> per purchase.</param>
    /// <param name="tickets">
    /// Each purchase's ticket in the form that reserve.lua takes, null for a purchase without one. Empty if no purchase
    /// has a ticket.
    /// </param>
    /// <param name="decisions">Receives one decision per purchase.</param>
    /// <param name="deadline">The longest time to wait for the answer.</param>
    /// <exception cref="RedisUnavailableException">Redis decided nothing.</exception>
    /// <exception cref="RedisOutcomeUnknownException">Redis may have accepted any of the purchases.</exception>
    public async Task DecideAsync(
        SaleKeys keys, long epoch, long notAfter, ReadOnlyMemory<byte[]> purchases, ReadOnlyMemory<byte[]?> tickets, Memory<ReserveDecision> decisions, TimeSpan deadline)
    {
        var arguments = new RedisValue[3 + purchases.Length + CountTickets(tickets.Span)];
        var request = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(request, Interlocked.Increment(ref _requests));
        arguments[0] = request;
        arguments[1] = epoch;
        arguments[2] = notAfter;
        for (int i = 0, next = 3; i < purchases.Length; i++)
        {
            arguments[next++] = purchases.Span[i];
            if (!tickets.IsEmpty && tickets.Span[i] is { } ticket) arguments[next++] = ticket;
        }

        RedisResult answer;
        try
        {
            answer = await Script.CallAsync(redis, keys.OfReserve, arguments, deadline);
        }
        catch (RedisServerException e)
        {
            // The script raises errors only before its first write, so nothing was decided.
            throw new RedisUnavailableException($"reserve.lua refused: {e.Message}", e);
        }
        Read((byte[])answer!, request, decisions.Span);
    }

    private static int CountTickets(ReadOnlySpan<byte[]?> tickets)
    {
        var count = 0;
        foreach (var ticket in tickets) count += ticket is null ? 0 : 1;
        return count;
    }

    private void Read(ReadOnlySpan<byte> answer, ReadOnlySpan<byte> request, Span<ReserveDecision> decisions)
    {
        // Redis answered another request, so the outcome of this one is unknown.
        if (answer.Length < HeadSize || !answer[..8].SequenceEqual(request))
        {
            redis.Distrust();
            throw new RedisOutcomeUnknownException("Redis answered another request.");
        }
        var time = ReadTime(answer[8..]);
        answer = answer[HeadSize..];
        for (var i = 0; i < decisions.Length; i++)
        {
            var code = (ReserveCode)answer[0];
            if (code is ReserveCode.Replay)
            {
                decisions[i] = new(code, new Guid(answer.Slice(1, 16), bigEndian: true), ReadTime(answer[17..]));
                answer = answer[(1 + ReplaySize)..];
            }
            else if (code is ReserveCode.Resting)
            {
                decisions[i] = new(code, default, time, BinaryPrimitives.ReadUInt16BigEndian(answer[1..]));
                answer = answer[3..];
            }
            else
            {
                decisions[i] = new(code, default, time);
                answer = answer[1..];
            }
        }
    }

    private static long ReadTime(ReadOnlySpan<byte> bytes) =>
        (long)BinaryPrimitives.ReadUInt16BigEndian(bytes) << 32 | BinaryPrimitives.ReadUInt32BigEndian(bytes[2..]);
}
