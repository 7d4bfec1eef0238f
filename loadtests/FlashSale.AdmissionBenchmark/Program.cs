using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using FlashSale.Admission;

// Measures the cost of tickets and challenges for a node: microseconds and allocated bytes of one call on one thread.
// It starts nothing else.
//   dotnet run -c Release --project loadtests/FlashSale.AdmissionBenchmark
// It ends with exit code 1 when checking a solution takes longer than its bound. Each result is the median of several
// rounds, so other work on the machine moves it little.
const double CheckBoundMicroseconds = 20;
const int Rounds = 15;
const int CallsPerRound = 20_000;
const string Sale = "s4194303";
const string User = "a-user-id-as-long-as-a-UUID-is:0192a4c1-7b1e-7c3d-8a55";

var options = new AdmissionOptions { TicketKey = RandomNumberGenerator.GetHexString(64), ChallengeMaxNumber = 1_000 };
var tickets = new Tickets(options);
var challenges = new Challenges(options);
var now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

var body = new byte[28];
var ticket = tickets.Sign(Sale, User, body);
var forged = new string('A', Tickets.Length);
var challenge = challenges.Issue(Sale, User, now).First;
var solution = Solution(challenge, Solve(challenge));
var wrong = Solution(challenge, -1);
if (tickets.Read(ticket, Sale, User) is not { Length: 28 } || tickets.Read(forged, Sale, User) is not { Length: 1 } || challenges.Check(solution, Sale, User, now) is null
    || challenges.Check(wrong, Sale, User, now) is not null)
{
    Console.Error.WriteLine("What is measured does not work.");
    return 2;
}

Console.WriteLine($"{"",-42}{"microseconds",14}{"bytes",8}");
Measure("ticket signed", () => tickets.Sign(Sale, User, body).Length);
Measure("ticket of a purchase read", () => tickets.Read(ticket, Sale, User)!.Length);
Measure("forged ticket read", () => tickets.Read(forged, Sale, User)!.Length);
Measure("challenge issued, both versions", () => challenges.Issue(Sale, User, now).First.MaxNumber);
Measure("wrong solution checked", () => challenges.Check(wrong, Sale, User, now) is null ? 1 : 0);
Measure("text that is no solution checked", () => challenges.Check("bm8gSlNPTg==", Sale, User, now) is null ? 1 : 0, CallsPerRound / 10);
var check = Measure("solution checked", () => challenges.Check(solution, Sale, User, now)!.Value.Id.Length);
Console.WriteLine($"a solution is checked in {check:0.00} microseconds, the bound is {CheckBoundMicroseconds}");
return check <= CheckBoundMicroseconds ? 0 : 1;

double Measure(string what, Func<int> call, int calls = CallsPerRound)
{
    var times = new double[Rounds];
    var sum = 0L;
    // The runtime optimises hot code in steps. These calls run first, so the measured rounds meet fully compiled code.
    for (var i = 0; i < calls * 2; i++) sum += call();
    var allocated = GC.GetAllocatedBytesForCurrentThread();
    for (var round = 0; round < Rounds; round++)
    {
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < calls; i++) sum += call();
        times[round] = Stopwatch.GetElapsedTime(start).TotalMicroseconds / calls;
    }
    var bytes = (GC.GetAllocatedBytesForCurrentThread() - allocated) / Rounds / calls;
    Array.Sort(times);
    GC.KeepAlive(sum);
    Console.WriteLine($"{what,-42}{times[Rounds / 2],14:0.00}{bytes,8}");
    return times[Rounds / 2];
}

static int Solve(ProofOfWork challenge)
{
    for (var number = 0; ; number++)
    {
        if (Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(challenge.Salt + number))) == challenge.Challenge) return number;
    }
}

// Encodes the solution in the form that the browser widget sends.
static string Solution(ProofOfWork challenge, int number) => Convert.ToBase64String(JsonSerializer.SerializeToUtf8Bytes(
    new { algorithm = challenge.Algorithm, challenge = challenge.Challenge, number, salt = challenge.Salt, signature = challenge.Signature, took = 123 }));
