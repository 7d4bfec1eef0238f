using System.Buffers.Binary;
using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Stock;

/// <summary>What reserve.lua decided about one purchase.</summary>
public enum ReserveCode : byte
{
    /// <summary>Reserved, durably.</summary>
    Accepted = (byte)'A',

    /// <summary>Reserved, durably; nothing is left of the item.</summary>
    AcceptedLast = (byte)'Z',

    /// <summary>The key has bought this before: here is the order.</summary>
    Replay = (byte)'R',

    /// <summary>The key has bought something else before.</summary>
    KeyReused = (byte)'K',

    /// <summary>Redis does not know the sale or item.</summary>
    NotLoaded = (byte)'N',

    /// <summary>Redis was started anew and is not verified yet.</summary>
    NotVerified = (byte)'V',

    /// <summary>The sale was loaded again: the caller's snapshot is old.</summary>
    OtherEpoch = (byte)'E',

    /// <summary>The caller's deadline has passed.</summary>
    TooLate = (byte)'D',

    /// <summary>The sale is held.</summary>
    Paused = (byte)'P',

    /// <summary>Before opensAt.</summary>
    NotOpen = (byte)'O',

    /// <summary>Past closesAt, or ended.</summary>
    Closed = (byte)'C',

    /// <summary>The sale requires a ticket, and none came with the purchase.</summary>
    TicketMissing = (byte)'T',

    /// <summary>The ticket is no good one, has expired, is of another epoch, or has bought already.</summary>
    TicketInvalid = (byte)'I',

    /// <summary>The user would exceed a limit.</summary>
    LimitReached = (byte)'U',

    /// <summary>Nothing is left.</summary>
    SoldOut = (byte)'S',

    /// <summary>Something is left, but less than asked for.</summary>
    FewerLeft = (byte)'F',

    /// <summary>Units came back after nothing was left: they are for sale when no node believes in the sell-out any more.</summary>
    Resting = (byte)'B',
}

/// <summary>The decision about one purchase.</summary>
/// <param name="Code">What was decided.</param>
/// <param name="OrderId">For a replay, the order of the original.</param>
/// <param name="AcceptedAt">For an acceptance or a replay: Redis TIME of the acceptance, Unix milliseconds.</param>
/// <param name="RestsFor">Of <see cref="ReserveCode.Resting"/>: milliseconds until the units are for sale.</param>
public readonly record struct ReserveDecision(ReserveCode Code, Guid OrderId, long AcceptedAt, int RestsFor = 0);

/// <summary>The caller of reserve.lua.</summary>
public sealed class ReserveScript(RedisConnection redis)
{
    private const int HeadSize = 8 + 6;
    private const int ReplaySize = 16 + 6;

    private static readonly RedisScript Script = new("Sales.door.lua", "Stock.reserve.lua");

    private long _requests = Random.Shared.NextInt64();

    /// <summary>Decides purchases of one sale, in order, in one round trip.</summary>
    /// <param name="keys">Of the sale.</param>
    /// <param name="epoch">The one that the caller's snapshot carries.</param>
    /// <param name="notAfter">Redis TIME after which nothing may be sold any more to those who wait, Unix milliseconds.</param>
    /// <param name="purchases">Records of <see cref="Contracts.ReservationCodec"/>.</param>
    /// <param name="tickets">What reserve.lua takes of each purchase's ticket, null where none came; empty for a sale that requires none.</param>
    /// <param name="decisions">Takes one decision per purchase.</param>
    /// <param name="deadline">How long to wait for the answer.</param>
    /// <exception cref="RedisUnavailableException">Nothing was decided.</exception>
    /// <exception cref="RedisOutcomeUnknownException">Any of them may have been accepted.</exception>
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
            // The script raises only before its first write.
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
        // An answer to another question: whatever happened to ours, nobody here knows it.
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
