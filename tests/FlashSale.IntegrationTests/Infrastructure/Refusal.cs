namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>The form that all refusals share.</summary>
public static class Refusal
{
    /// <summary>Checks a refusal down to its headers.</summary>
    public static Answer AssertIs(int status, string code, Answer answer)
    {
        Assert.True(answer.Status == status, $"Expected {status} {code}, got {answer}");
        Assert.Equal("application/problem+json", answer.Header("content-type"));
        Assert.Equal(code, answer.Code);
        Assert.Equal(status, answer.Json.GetProperty("status").GetInt32());
        Assert.NotEqual("", answer.Member("title"));
        Assert.Matches("^[0-9a-zA-Z:.-]{8,}$", answer.Member("traceId"));
        Assert.DoesNotContain("   at ", answer.Text);
        Assert.DoesNotContain("Exception", answer.Text);
        if (status is 429 or 503)
        {
            Assert.Equal("no-store", answer.Header("cache-control"));
            Assert.InRange(int.Parse(answer.Header("retry-after")!), 1, 60);
        }
        if (status == 401) Assert.StartsWith("Bearer", answer.Header("www-authenticate"));
        return answer;
    }
}
